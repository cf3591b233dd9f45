//! The module with all kernels: embedded machine code, or text that NVRTC compiles here.
//!
//! What nvcc made at build time is tried first. A driver that refuses it (too old, or another
//! kind of GPU than either of its parts is for) gets what NVRTC makes of the text for this very
//! GPU, kept in the user's cache folder under a name that text, target and compiler decide.

#![allow(unsafe_code)] // NVRTC and the driver are foreign functions

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use cudarc::driver::sys::{self, CUfunction, CUmodule, CUresult};
use cudarc::nvrtc::sys as nvrtc;

use super::{checked, libraries};
use crate::driver::Grid;
use crate::error::{Error, Result, Unavailable};

/// The text of all kernels.
const SOURCE: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.cu"));

/// What nvcc made of it, and of which CUDA it was.
#[cfg(kernels_built)]
const BUILT: Option<(&[u8], &str)> = Some((
    include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin")),
    env!("KERNELS_CUDA"),
));
#[cfg(not(kernels_built))]
const BUILT: Option<(&[u8], &str)> = None;

/// A block has so much dynamic shared memory without asking.
const SHARED_WITHOUT_ASKING: u32 = 48 * 1024;

/// A kernel, and how much dynamic shared memory it may have.
#[derive(Clone, Copy)]
struct Kernel {
    function: CUfunction,
    shared: u32,
}

/// All kernels of a device.
pub(super) struct Kernels {
    module: CUmodule,
    /// Where they come from.
    pub(super) origin: String,
    loaded: Mutex<HashMap<String, Kernel>>,
}

// SAFETY: handles of the driver may be used from any thread.
unsafe impl Send for Kernels {}
// SAFETY: as above; the map is behind a lock.
unsafe impl Sync for Kernels {}

impl Kernels {
    /// Loads the module into the current context; `capability` is the device's, such as (9, 0).
    pub(super) fn load(capability: (i32, i32), driver: &str) -> Result<Self, Unavailable> {
        let mut refused = None;
        if let Some((image, version)) = BUILT {
            match load_image(image) {
                Ok(module) => return Ok(Self::new(module, format!("nvcc {version}"))),
                Err(result) => refused = Some((version, result)),
            }
        }
        let compiled = libraries::nvrtc()
            .map_err(|error| error.to_string())
            .and_then(|_| compile(capability));
        match (compiled, refused) {
            (Ok((image, origin)), _) => match load_image(&image) {
                Ok(module) => Ok(Self::new(module, origin)),
                Err(CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION) => {
                    Err(Unavailable::DriverTooOld {
                        driver: driver.to_owned(),
                        needed: refused.map_or_else(
                            || origin.split(" for").next().unwrap_or_default().to_owned(),
                            |(needed, _)| needed.to_owned(),
                        ),
                        reason: format!("it refuses what {origin} makes"),
                    })
                }
                Err(result) => Err(Unavailable::Kernels(format!("{origin}: {result:?}"))),
            },
            (Err(reason), Some((needed, CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION))) => {
                Err(Unavailable::DriverTooOld {
                    driver: driver.to_owned(),
                    needed: needed.to_owned(),
                    reason,
                })
            }
            (Err(reason), Some((version, result))) => Err(Unavailable::Kernels(format!(
                "what nvcc {version} made of them is refused ({result:?}), and {reason}"
            ))),
            (Err(reason), None) => Err(Unavailable::Kernels(reason)),
        }
    }

    fn new(module: CUmodule, origin: String) -> Self {
        Self {
            module,
            origin,
            loaded: Mutex::default(),
        }
    }

    /// The kernel of that name, allowed as much shared memory as the launch wants.
    pub(super) fn get(&self, name: &str, grid: Grid) -> Result<CUfunction> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kernel = match loaded.get(name) {
            Some(kernel) => *kernel,
            None => self.find(name)?,
        };
        if grid.shared > kernel.shared {
            let attribute =
                sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = grid.shared as i32;
            // SAFETY: the function is one of the loaded module.
            let result = unsafe { sys::cuFuncSetAttribute(kernel.function, attribute, bytes) };
            checked("cuFuncSetAttribute", result).map_err(|error| Error::Kernel {
                kernel: name.to_owned(),
                message: format!("{bytes} bytes of shared memory: {error}"),
            })?;
            kernel.shared = grid.shared;
            loaded.remove(name);
        }
        if !loaded.contains_key(name) {
            loaded.insert(name.to_owned(), kernel);
        }
        Ok(kernel.function)
    }

    fn find(&self, name: &str) -> Result<Kernel> {
        let text = CString::new(name).expect("a kernel's name has no zero byte");
        let mut function = std::ptr::null_mut();
        // SAFETY: the module is loaded; the name ends with a zero.
        let result =
            unsafe { sys::cuModuleGetFunction(&raw mut function, self.module, text.as_ptr()) };
        checked("cuModuleGetFunction", result).map_err(|error| Error::Kernel {
            kernel: name.to_owned(),
            message: error.to_string(),
        })?;
        Ok(Kernel {
            function,
            shared: SHARED_WITHOUT_ASKING,
        })
    }
}

fn load_image(image: &[u8]) -> Result<CUmodule, CUresult> {
    let mut module = std::ptr::null_mut();
    // SAFETY: the image is machine code or a fat binary, both of which know their own length.
    let result = unsafe { sys::cuModuleLoadData(&raw mut module, image.as_ptr().cast()) };
    match result {
        CUresult::CUDA_SUCCESS => Ok(module),
        result => Err(result),
    }
}

/// Machine code for the device and where it comes from, from the cache or from NVRTC.
pub(super) fn compile(capability: (i32, i32)) -> Result<(Vec<u8>, String), String> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the library was found; both places are there to be written.
    let result = unsafe { nvrtc::nvrtcVersion(&raw mut major, &raw mut minor) };
    worked("nvrtcVersion", result)?;
    // Instructions of Hopper alone need the target's own name.
    let target = match capability {
        (9, 0) => "sm_90a".to_owned(),
        (major, minor) => format!("sm_{major}{minor}"),
    };
    let origin = format!("NVRTC {major}.{minor} for {target}");
    let key = blake3::hash(format!("{origin}\n{SOURCE}").as_bytes()).to_hex();
    let place = cache().map(|folder| folder.join(format!("{key}.cubin")));
    if let Some(image) = place.as_ref().and_then(|place| fs_err::read(place).ok()) {
        return Ok((image, format!("{origin}, kept in the cache")));
    }
    let image = compile_for(&target)?;
    if let Some(place) = place {
        // The cache saves time; a full or read-only disk is no reason to stop. Renamed, so that
        // nobody reads half of it.
        let half = place.with_extension(std::process::id().to_string());
        let _ = place
            .parent()
            .map(fs_err::create_dir_all)
            .transpose()
            .and_then(|_| fs_err::write(&half, &image))
            .and_then(|()| fs_err::rename(&half, &place));
    }
    Ok((image, origin))
}

fn cache() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    Some(folder.or_else(home)?.join("iota").join("kernels"))
}

fn worked(call: &str, result: nvrtc::nvrtcResult) -> Result<(), String> {
    match result {
        nvrtc::nvrtcResult::NVRTC_SUCCESS => Ok(()),
        result => Err(format!("{call}: {result:?}")),
    }
}

fn compile_for(target: &str) -> Result<Vec<u8>, String> {
    let source = CString::new(SOURCE).expect("the kernels' text has no zero byte");
    let options = [
        CString::new(format!("--gpu-architecture={target}")).expect("no zero byte"),
        c"--std=c++17".to_owned(),
    ];
    let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
    let mut program = std::ptr::null_mut();
    // SAFETY: all texts end with a zero and outlive the program; sizes are asked for before the
    // places that are filled.
    unsafe {
        worked(
            "nvrtcCreateProgram",
            nvrtc::nvrtcCreateProgram(
                &raw mut program,
                source.as_ptr(),
                c"kernels.cu".as_ptr(),
                0,
                std::ptr::null(),
                std::ptr::null(),
            ),
        )?;
        let result = nvrtc::nvrtcCompileProgram(program, options.len() as i32, pointers.as_ptr());
        if let Err(error) = worked("nvrtcCompileProgram", result) {
            let mut size = 0;
            worked("log", nvrtc::nvrtcGetProgramLogSize(program, &raw mut size))?;
            let mut log = vec![0_u8; size + 1];
            worked(
                "log",
                nvrtc::nvrtcGetProgramLog(program, log.as_mut_ptr().cast()),
            )?;
            nvrtc::nvrtcDestroyProgram(&raw mut program);
            let log = CStr::from_bytes_until_nul(&log).unwrap_or_default();
            return Err(format!("{error}: {}", log.to_string_lossy()));
        }
        let mut size = 0;
        worked("size", nvrtc::nvrtcGetCUBINSize(program, &raw mut size))?;
        let mut image = vec![0_u8; size];
        worked(
            "code",
            nvrtc::nvrtcGetCUBIN(program, image.as_mut_ptr().cast()),
        )?;
        nvrtc::nvrtcDestroyProgram(&raw mut program);
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::{compile_for, libraries};

    #[test]
    fn nvrtc_compiles_the_kernels_where_it_is_installed() {
        // Needs no GPU; without NVRTC there is nothing to try.
        if libraries::nvrtc().is_err() {
            return;
        }
        let image = compile_for("sm_90a").expect("NVRTC takes the text");
        assert!(image.starts_with(b"\x7fELF"));
    }
}
