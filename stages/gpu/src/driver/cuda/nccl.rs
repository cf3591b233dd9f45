//! NCCL, opened at run time: the dozen functions that carrying values between ranks needs.
//!
//! Declared here after nccl.h of NCCL 2.18 and later, whose binary interface has not changed since
//! 2.7 (point-to-point calls): cudarc's bindings look for other file names. Nothing is closed: what
//! a process has opened it keeps.

#![allow(unsafe_code)] // NCCL is foreign functions

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Arc, OnceLock};

use cudarc::driver::sys::{self, CUresult, CUstream};
use libloading::os::unix::{Library, Symbol};

use super::{Session, checked, libraries};
use crate::driver::{Exchange, Transfer};
use crate::error::{Error, Result, Unavailable};

/// As NCCL passes it: by value.
#[derive(Clone, Copy)]
#[repr(C)]
struct Id([u8; 128]);

type Communicator = *mut c_void;

const SUCCESS: c_int = 0;
/// Of `ncclCommGetAsyncError`: what was asked for is under way.
const IN_PROGRESS: c_int = 7;
const FLOAT32: c_int = 7;

/// NCCL's functions.
struct Functions {
    get_version: Symbol<unsafe extern "C" fn(*mut c_int) -> c_int>,
    get_unique_id: Symbol<unsafe extern "C" fn(*mut Id) -> c_int>,
    init_rank: Symbol<unsafe extern "C" fn(*mut Communicator, c_int, Id, c_int) -> c_int>,
    abort: Symbol<unsafe extern "C" fn(Communicator) -> c_int>,
    destroy: Symbol<unsafe extern "C" fn(Communicator) -> c_int>,
    async_error: Symbol<unsafe extern "C" fn(Communicator, *mut c_int) -> c_int>,
    send: Symbol<
        unsafe extern "C" fn(*const c_void, usize, c_int, c_int, Communicator, CUstream) -> c_int,
    >,
    receive: Symbol<
        unsafe extern "C" fn(*mut c_void, usize, c_int, c_int, Communicator, CUstream) -> c_int,
    >,
    group_start: Symbol<unsafe extern "C" fn() -> c_int>,
    group_end: Symbol<unsafe extern "C" fn() -> c_int>,
    error_string: Symbol<unsafe extern "C" fn(c_int) -> *const c_char>,
    last_error: Symbol<unsafe extern "C" fn(Communicator) -> *const c_char>,
    /// Where the library was found.
    place: String,
    _library: Library,
}

impl Functions {
    fn load() -> Result<Self, Unavailable> {
        let (library, (name, place)) = libraries::nccl()?;
        // SAFETY: the types are those of nccl.h.
        let all = unsafe {
            let functions = || -> Result<Self, libloading::Error> {
                Ok(Self {
                    get_version: library.get("ncclGetVersion")?,
                    get_unique_id: library.get("ncclGetUniqueId")?,
                    init_rank: library.get("ncclCommInitRank")?,
                    abort: library.get("ncclCommAbort")?,
                    destroy: library.get("ncclCommDestroy")?,
                    async_error: library.get("ncclCommGetAsyncError")?,
                    send: library.get("ncclSend")?,
                    receive: library.get("ncclRecv")?,
                    group_start: library.get("ncclGroupStart")?,
                    group_end: library.get("ncclGroupEnd")?,
                    error_string: library.get("ncclGetErrorString")?,
                    last_error: library.get("ncclGetLastError")?,
                    place,
                    _library: library,
                })
            };
            functions()
        };
        all.map_err(|error| {
            Unavailable::Failed(format!("{name} is too old, 2.18 is needed: {error}"))
        })
    }

    fn text(&self, result: c_int) -> String {
        let text = |pointer: *const c_char| {
            if pointer.is_null() {
                return String::new();
            }
            // SAFETY: NCCL's texts end with a zero and live as long as it.
            let text = unsafe { CStr::from_ptr(pointer) };
            text.to_string_lossy().trim().to_owned()
        };
        // SAFETY: a null communicator asks for the thread's last error.
        let (what, last) = unsafe {
            (
                text((self.error_string)(result)),
                text((self.last_error)(std::ptr::null_mut())),
            )
        };
        if last.is_empty() {
            return format!("{what} (NCCL_DEBUG=INFO says more)");
        }
        format!("{what}: {last} (NCCL_DEBUG=INFO says more)")
    }

    fn checked(&self, call: &'static str, result: c_int) -> Result<()> {
        match result {
            SUCCESS | IN_PROGRESS => Ok(()),
            result => Err(Error::Driver {
                call,
                message: self.text(result),
            }),
        }
    }
}

/// NCCL, opened once.
fn functions() -> Result<&'static Functions, Unavailable> {
    static FUNCTIONS: OnceLock<Result<Functions, Unavailable>> = OnceLock::new();
    FUNCTIONS
        .get_or_init(Functions::load)
        .as_ref()
        .map_err(Clone::clone)
}

fn failed(error: Error) -> Unavailable {
    Unavailable::Failed(error.to_string())
}

pub(crate) fn library() -> Result<(String, String), Unavailable> {
    let functions = functions()?;
    let mut version = 0;
    // SAFETY: the place is there to be written.
    let result = unsafe { (functions.get_version)(&raw mut version) };
    functions
        .checked("ncclGetVersion", result)
        .map_err(failed)?;
    let version = format!(
        "{}.{}.{}",
        version / 10_000,
        version % 10_000 / 100,
        version % 100
    );
    Ok((version, functions.place.clone()))
}

pub(crate) fn unique_id() -> Result<[u8; 128], Unavailable> {
    let functions = functions()?;
    let mut id = Id([0; 128]);
    // SAFETY: the place is there to be written.
    let result = unsafe { (functions.get_unique_id)(&raw mut id) };
    functions
        .checked("ncclGetUniqueId", result)
        .map_err(failed)?;
    Ok(id.0)
}

/// A communicator of NCCL on the stream of a session.
pub(super) struct Group {
    functions: &'static Functions,
    session: Arc<Session>,
    communicator: Communicator,
    aborted: std::sync::atomic::AtomicBool,
}

// SAFETY: a communicator may be used from any thread, one at a time; calls come from the one that
// trains.
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

impl Group {
    /// Waits until all ranks have come.
    pub(super) fn join(
        session: Arc<Session>,
        id: &[u8; 128],
        rank: usize,
        size: usize,
    ) -> Result<Self, Unavailable> {
        let functions = functions()?;
        session.bind().map_err(failed)?;
        let mut communicator = std::ptr::null_mut();
        // SAFETY: the place is there to be written; the device's context is current.
        let result = unsafe {
            (functions.init_rank)(&raw mut communicator, size as c_int, Id(*id), rank as c_int)
        };
        functions
            .checked("ncclCommInitRank", result)
            .map_err(failed)?;
        Ok(Self {
            functions,
            session,
            communicator,
            aborted: false.into(),
        })
    }
}

impl Exchange for Group {
    fn run(&self, sends: &[Transfer], receives: &[Transfer]) -> Result<()> {
        let (functions, stream) = (self.functions, self.session.stream);
        self.session.bind()?;
        // SAFETY: the caller's buffers have so many values, and live until the stream is done.
        unsafe {
            functions.checked("ncclGroupStart", (functions.group_start)())?;
            let mut outcome = Ok(());
            for send in sends.iter().filter(|send| send.count > 0) {
                let from = send.address as *const c_void;
                let (count, peer) = (send.count, send.rank as c_int);
                let result =
                    (functions.send)(from, count, FLOAT32, peer, self.communicator, stream);
                outcome = outcome.and(functions.checked("ncclSend", result));
            }
            for receive in receives.iter().filter(|receive| receive.count > 0) {
                let to = receive.address as *mut c_void;
                let (count, peer) = (receive.count, receive.rank as c_int);
                let result =
                    (functions.receive)(to, count, FLOAT32, peer, self.communicator, stream);
                outcome = outcome.and(functions.checked("ncclRecv", result));
            }
            // A group that was begun must be ended.
            let ended = functions.checked("ncclGroupEnd", (functions.group_end)());
            outcome.and(ended)
        }
    }

    fn is_done(&self) -> Result<bool> {
        let functions = self.functions;
        let mut state = SUCCESS;
        self.session.bind()?;
        // SAFETY: the communicator is alive; the place is there to be written.
        let asked = unsafe { (functions.async_error)(self.communicator, &raw mut state) };
        functions.checked("ncclCommGetAsyncError", asked)?;
        functions.checked("an exchange of NCCL", state)?;
        // SAFETY: the stream lives as long as the process.
        match unsafe { sys::cuStreamQuery(self.session.stream) } {
            CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            result => checked("cuStreamQuery", result).map(|()| true),
        }
    }

    fn abort(&self) {
        use std::sync::atomic::Ordering;
        if !self.aborted.swap(true, Ordering::Relaxed) && self.session.bind().is_ok() {
            // SAFETY: the communicator is alive and is given back once.
            unsafe { (self.functions.abort)(self.communicator) };
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !*self.aborted.get_mut() && self.session.bind().is_ok() {
            // SAFETY: the communicator is alive and is given back once.
            unsafe { (self.functions.destroy)(self.communicator) };
        }
    }
}
