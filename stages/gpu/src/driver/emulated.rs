//! The device of the tests: the kernels' own text, run on the CPU by `emulation/runtime.cpp`.
//!
//! Every buffer is an allocation of its own with guards around it, filled with NaN at first; the
//! guards are looked at after each launch and product, so that a write outside a buffer is an
//! error that names the kernel, and a read outside or of what was never written makes NaN.
//! Slow: thousands of values, not millions. It has no notion of time.

#![allow(unsafe_code)] // memory and kernels are the foreign side's

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Argument, Driver, Grid, Matrix, Number, Product, Recording};
use crate::device::{Description, Memory};
use crate::error::{Error, Result};

unsafe extern "C" {
    fn emulation_launch(
        name: *const c_char,
        blocks: *const u32,
        threads: u32,
        shared: u32,
        arguments: *mut *mut c_void,
        sizes: *const u32,
        count: u32,
    ) -> *const c_char;
    fn emulation_product(
        m: u64,
        n: u64,
        k: u64,
        alpha: f32,
        beta: f32,
        a: *const c_void,
        lda: u64,
        transpose_a: u32,
        b: *const c_void,
        ldb: u64,
        transpose_b: u32,
        c: *mut c_void,
        ldc: u64,
        inputs_half: u32,
        output_half: u32,
    );
}

/// NaN as f32 and as two bf16.
const NAN: u32 = 0x7fc0_7fc0;
/// Bytes before and after a buffer.
const GUARD: usize = 256;
/// What the emulated device has.
const MEMORY: usize = 1 << 30;

/// A buffer with its guards, in words so that kernels may read 16 bytes at once.
struct Allocation {
    words: Vec<u128>,
    bytes: usize,
}

impl Allocation {
    fn new(bytes: usize) -> Self {
        let nan = u128::from(NAN);
        let word = nan | nan << 32 | nan << 64 | nan << 96;
        let words = (2 * GUARD + bytes.next_multiple_of(16)) / 16;
        Self {
            words: vec![word; words],
            bytes,
        }
    }

    fn address(&self) -> u64 {
        self.words.as_ptr() as u64 + GUARD as u64
    }

    fn guards_hold(&self) -> bool {
        let holds = |words: &[u128]| words.iter().all(|word| *word == self.words[0]);
        let after = (GUARD + self.bytes.next_multiple_of(16)) / 16;
        self.words[0] as u32 == NAN
            && holds(&self.words[..GUARD / 16])
            && holds(&self.words[after..])
            && (self.bytes..self.bytes.next_multiple_of(16)).all(|at| {
                let word = self.words[(GUARD + at) / 16];
                (word >> (8 * (at % 16))) as u8 == (NAN >> (8 * (at % 4))) as u8
            })
    }
}

/// One recorded call.
enum Call {
    Launch(String, Grid, Vec<Argument>),
    Product(Product),
    Copy(u64, u64, usize),
    Zero(u64, usize),
}

#[derive(Default)]
struct State {
    allocations: BTreeMap<u64, Allocation>,
    used: usize,
    recorded: Option<Vec<Call>>,
}

/// The emulated device.
#[derive(Default)]
pub(crate) struct Emulated {
    state: Arc<Mutex<State>>,
}

impl Emulated {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A failed test may have panicked with it; its own assertion is the news.
    state
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl State {
    /// Fails if `bytes` from `address` are not inside one buffer.
    fn check(&self, call: &'static str, address: u64, bytes: usize) -> Result<()> {
        let buffer = self.allocations.range(..=address).next_back();
        let inside = buffer
            .is_some_and(|(start, buffer)| address + bytes as u64 <= start + buffer.bytes as u64);
        if inside {
            return Ok(());
        }
        let message = format!("{bytes} bytes at {address:#x} are not inside a buffer");
        Err(Error::Driver { call, message })
    }

    fn check_guards(&self) -> Result<(), String> {
        match self.allocations.values().find(|one| !one.guards_hold()) {
            Some(one) => Err(format!("it wrote outside a buffer of {} bytes", one.bytes)),
            None => Ok(()),
        }
    }

    fn run(&self, call: &Call) -> Result<()> {
        match call {
            Call::Launch(kernel, grid, arguments) => launch(kernel, *grid, arguments)
                .and_then(|()| self.check_guards())
                .map_err(|message| Error::Kernel {
                    kernel: kernel.clone(),
                    message,
                }),
            Call::Product(call) => self.product(call),
            Call::Copy(to, from, bytes) => {
                self.check("copy", *to, *bytes)?;
                self.check("copy", *from, *bytes)?;
                // SAFETY: both ranges were just found inside buffers, which nobody else touches.
                unsafe { std::ptr::copy(*from as *const u8, *to as *mut u8, *bytes) };
                Ok(())
            }
            Call::Zero(to, bytes) => {
                self.check("zero", *to, *bytes)?;
                // SAFETY: as above.
                unsafe { std::ptr::write_bytes(*to as *mut u8, 0, *bytes) };
                Ok(())
            }
        }
    }

    fn product(&self, call: &Product) -> Result<()> {
        let shape = || format!("{call:?}");
        // Rows and columns of a matrix as it lies there, column-major.
        let check = |matrix: &Matrix, rows: usize, cols: usize, kind: Number| {
            let (rows, cols) = if matrix.transposed {
                (cols, rows)
            } else {
                (rows, cols)
            };
            let values = (cols - 1) * matrix.leading + rows;
            let bytes = values * if kind == Number::F32 { 4 } else { 2 };
            if matrix.leading < rows {
                let message = format!("a leading dimension of {} for {rows}", matrix.leading);
                return Err(Error::Product {
                    shape: shape(),
                    message,
                });
            }
            self.check("gemm", matrix.address, bytes)
        };
        check(&call.a, call.m, call.k, call.inputs)?;
        check(&call.b, call.k, call.n, call.inputs)?;
        check(&call.c, call.m, call.n, call.output)?;
        // SAFETY: all three matrices were just found inside buffers.
        unsafe {
            emulation_product(
                call.m as u64,
                call.n as u64,
                call.k as u64,
                call.alpha,
                call.beta,
                call.a.address as *const c_void,
                call.a.leading as u64,
                u32::from(call.a.transposed),
                call.b.address as *const c_void,
                call.b.leading as u64,
                u32::from(call.b.transposed),
                call.c.address as *mut c_void,
                call.c.leading as u64,
                u32::from(call.inputs == Number::Bf16),
                u32::from(call.output == Number::Bf16),
            );
        }
        Ok(())
    }

    fn record_or_run(&mut self, call: Call) -> Result<()> {
        match &mut self.recorded {
            Some(recorded) => {
                recorded.push(call);
                Ok(())
            }
            None => self.run(&call),
        }
    }

    fn not_while_recording(&self, call: &'static str) -> Result<()> {
        if self.recorded.is_none() {
            return Ok(());
        }
        Err(Error::Driver {
            call,
            message: "calls are being recorded".to_owned(),
        })
    }
}

fn launch(kernel: &str, grid: Grid, arguments: &[Argument]) -> Result<(), String> {
    let name = CString::new(kernel).expect("a kernel's name has no zero byte");
    let mut bits: Vec<u64> = arguments.iter().map(|argument| argument.bits).collect();
    let sizes: Vec<u32> = arguments.iter().map(|argument| argument.bytes).collect();
    let mut pointers: Vec<*mut c_void> = bits.iter_mut().map(|b| (&raw mut *b).cast()).collect();
    // SAFETY: the name ends with a zero; there are as many pointers and sizes as `count` says, and
    // sizes are checked before a kernel reads its arguments. What a kernel does with addresses is
    // what the emulation is there to find out.
    let message = unsafe {
        emulation_launch(
            name.as_ptr(),
            grid.blocks.as_ptr(),
            grid.threads,
            grid.shared,
            pointers.as_mut_ptr(),
            sizes.as_ptr(),
            sizes.len() as u32,
        )
    };
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a message is a constant that ends with a zero.
    let message = unsafe { CStr::from_ptr(message) };
    Err(message.to_string_lossy().into_owned())
}

impl Driver for Emulated {
    fn description(&self) -> Description {
        Description {
            name: "emulation on the CPU".to_owned(),
            compute_capability: "9.0".to_owned(),
            multiprocessors: 1,
            memory: self.memory().unwrap_or_default(),
            kernels: "compiled by g++".to_owned(),
            ..Description::default()
        }
    }

    fn memory(&self) -> Result<Memory> {
        Ok(Memory {
            free: MEMORY.saturating_sub(self.state().used),
            total: MEMORY,
        })
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        let mut state = self.state();
        state.not_while_recording("allocate")?;
        if state.used + bytes > MEMORY {
            return Err(Error::OutOfMemory {
                wanted: bytes,
                free: MEMORY - state.used,
                total: MEMORY,
            });
        }
        let allocation = Allocation::new(bytes);
        let address = allocation.address();
        state.used += bytes;
        state.allocations.insert(address, allocation);
        Ok(address)
    }

    fn free(&self, address: u64) {
        let mut state = self.state();
        if let Some(allocation) = state.allocations.remove(&address) {
            state.used -= allocation.bytes;
        }
    }

    fn upload(&self, to: u64, bytes: &[u8]) -> Result<()> {
        let state = self.state();
        state.not_while_recording("upload")?;
        state.check("upload", to, bytes.len())?;
        // SAFETY: the range was just found inside a buffer, which nobody else touches.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, bytes.len()) };
        Ok(())
    }

    fn download(&self, bytes: &mut [u8], from: u64) -> Result<()> {
        let state = self.state();
        state.not_while_recording("download")?;
        state.check("download", from, bytes.len())?;
        // SAFETY: as above.
        unsafe {
            std::ptr::copy_nonoverlapping(from as *const u8, bytes.as_mut_ptr(), bytes.len());
        }
        Ok(())
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        self.state().record_or_run(Call::Copy(to, from, bytes))
    }

    fn zero(&self, to: u64, bytes: usize) -> Result<()> {
        self.state().record_or_run(Call::Zero(to, bytes))
    }

    fn launch(&self, kernel: &str, grid: Grid, arguments: &[Argument]) -> Result<()> {
        let call = Call::Launch(kernel.to_owned(), grid, arguments.to_vec());
        self.state().record_or_run(call)
    }

    fn product(&self, product: &Product) -> Result<()> {
        self.state().record_or_run(Call::Product(*product))
    }

    fn synchronise(&self) -> Result<()> {
        self.state().not_while_recording("synchronise")
    }

    fn begin_recording(&self) -> Result<()> {
        let mut state = self.state();
        state.not_while_recording("begin_recording")?;
        state.recorded = Some(Vec::new());
        Ok(())
    }

    fn end_recording(&self) -> Result<Box<dyn Recording>> {
        let calls = self.state().recorded.take().unwrap_or_default();
        Ok(Box::new(Recorded {
            calls,
            state: Arc::clone(&self.state),
        }))
    }
}

struct Recorded {
    calls: Vec<Call>,
    state: Arc<Mutex<State>>,
}

impl Recording for Recorded {
    fn launch(&self) -> Result<()> {
        let state = lock(&self.state);
        state.not_while_recording("graph launch")?;
        self.calls.iter().try_for_each(|call| state.run(call))
    }
}
