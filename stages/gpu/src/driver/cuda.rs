//! The real device, through CUDA's driver interface and cuBLAS.
//!
//! One context, one stream, one pool of memory that gives nothing back to the driver while the
//! process lives (its threshold is the largest number), so that allocating is a matter of
//! microseconds and needs no waiting. cuBLAS has a fixed workspace: products can be recorded into
//! graphs, and the same sizes give the same bits. Every call makes the context current first: the
//! caller's thread may be any.

#![allow(unsafe_code)] // the driver and cuBLAS are foreign functions

mod kernels;
mod libraries;
#[cfg(feature = "nccl")]
pub(crate) mod nccl;

use std::ffi::{CStr, c_void};
use std::sync::Arc;

use cudarc::cublas::sys as cublas;
use cudarc::driver::sys::CUdevice_attribute as Attribute;
use cudarc::driver::sys::{
    self, CUcontext, CUdevice, CUgraphExec, CUmemoryPool, CUresult, CUstream,
};

use super::{Argument, Driver, Grid, Number, Product, Recording};
use crate::device::{Description, Memory};
use crate::error::{Error, Result, Unavailable};
use kernels::Kernels;

/// cuBLAS's own memory: what NVIDIA recommends for Hopper.
const WORKSPACE_BYTES: usize = 32 << 20;

/// A device of the driver.
pub(crate) struct Cuda {
    session: Arc<Session>,
    handle: cublas::cublasHandle_t,
    kernels: Kernels,
    about: Description,
}

// SAFETY: handles of the driver may be used from any thread; cuBLAS's handle has no state that
// changes after it was made, and calls on one stream are in order.
unsafe impl Send for Cuda {}
// SAFETY: as above.
unsafe impl Sync for Cuda {}

/// Context, stream and pool; graphs keep it alive, too. Nothing of it is given back: the process's
/// end does that, in the right order.
struct Session {
    context: CUcontext,
    stream: CUstream,
    pool: CUmemoryPool,
}

// SAFETY: handles of the driver may be used from any thread.
unsafe impl Send for Session {}
// SAFETY: as above.
unsafe impl Sync for Session {}

fn text_of(result: CUresult) -> String {
    let mut text = std::ptr::null();
    // SAFETY: the place is there to be written; a text that the driver gives ends with a zero and
    // lives as long as the driver.
    let known = unsafe { sys::cuGetErrorString(result, &raw mut text) };
    if known == CUresult::CUDA_SUCCESS && !text.is_null() {
        // SAFETY: as above.
        let text = unsafe { CStr::from_ptr(text) };
        return format!("{} ({result:?})", text.to_string_lossy());
    }
    format!("{result:?}")
}

fn checked(call: &'static str, result: CUresult) -> Result<()> {
    match result {
        CUresult::CUDA_SUCCESS => Ok(()),
        result => Err(Error::Driver {
            call,
            message: text_of(result),
        }),
    }
}

/// A status of cuBLAS as a text.
fn blas(status: cublas::cublasStatus_t) -> Result<(), String> {
    match status {
        cublas::cublasStatus_t::CUBLAS_STATUS_SUCCESS => Ok(()),
        status => Err(format!("{status:?}")),
    }
}

/// "13.0" of 13000.
fn version(number: i32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

impl Session {
    fn bind(&self) -> Result<()> {
        // SAFETY: the context lives as long as the process.
        checked("cuCtxSetCurrent", unsafe {
            sys::cuCtxSetCurrent(self.context)
        })
    }

    /// Bytes that the pool holds and nobody uses.
    fn pooled(&self) -> usize {
        use sys::CUmemPool_attribute::{
            CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, CU_MEMPOOL_ATTR_USED_MEM_CURRENT,
        };
        let ask = |attribute| {
            let mut bytes = 0_u64;
            // SAFETY: both attributes are 64-bit numbers.
            let result = unsafe {
                sys::cuMemPoolGetAttribute(self.pool, attribute, (&raw mut bytes).cast())
            };
            (result == CUresult::CUDA_SUCCESS).then_some(bytes)
        };
        let reserved = ask(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT).unwrap_or(0);
        let used = ask(CU_MEMPOOL_ATTR_USED_MEM_CURRENT).unwrap_or(reserved);
        reserved.saturating_sub(used) as usize
    }

    fn memory(&self) -> Result<Memory> {
        self.bind()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: both places are there to be written.
        let result = unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) };
        checked("cuMemGetInfo", result)?;
        Ok(Memory {
            free: free + self.pooled(),
            total,
        })
    }

    fn synchronise(&self) -> Result<()> {
        self.bind()?;
        // SAFETY: the stream lives as long as the process.
        checked("cuStreamSynchronize", unsafe {
            sys::cuStreamSynchronize(self.stream)
        })
    }

    fn try_allocate(&self, bytes: usize) -> (CUresult, u64) {
        let mut address = 0;
        // SAFETY: the place is there to be written.
        let result = unsafe { sys::cuMemAllocAsync(&raw mut address, bytes, self.stream) };
        (result, address)
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.bind()?;
        let (mut result, mut address) = self.try_allocate(bytes);
        if result == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            // The pool may hold much in pieces that are too small: give them back and try again.
            self.synchronise()?;
            // SAFETY: the pool lives as long as the process.
            unsafe { sys::cuMemPoolTrimTo(self.pool, 0) };
            (result, address) = self.try_allocate(bytes);
        }
        if result == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            let Memory { free, total } = self.memory()?;
            return Err(Error::OutOfMemory {
                wanted: bytes,
                free,
                total,
            });
        }
        checked("cuMemAllocAsync", result)?;
        Ok(address)
    }
}

/// Whether there is a driver.
#[cfg(feature = "emulation")]
pub(super) fn is_there() -> bool {
    libraries::driver().is_ok()
}

impl Cuda {
    /// Opens libraries, the device, its memory pool, cuBLAS and the kernels.
    pub(crate) fn new(ordinal: usize) -> Result<Self, Unavailable> {
        let mut found = vec![libraries::driver()?];
        let (device, count, driver_cuda) = first_calls(ordinal)?;
        let device = device.ok_or(Unavailable::NoDevice { ordinal, count })?;
        let failed = |error: Error| Unavailable::Failed(error.to_string());
        let name = device_name(device).map_err(failed)?;
        let attribute = |which| device_attribute(device, which).map_err(failed);
        let capability = (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        let compute_capability = format!("{}.{}", capability.0, capability.1);
        if capability.0 < 8 {
            return Err(Unavailable::TooOld {
                ordinal,
                name,
                found: compute_capability,
            });
        }
        found.extend(libraries::cublas()?);
        let session = session(device).map_err(failed)?;
        let kernels = Kernels::load(capability, &driver_cuda)?;
        let handle = blas_handle(&session).map_err(Unavailable::Failed)?;
        let about = Description {
            name,
            ordinal,
            driver_cuda,
            driver: kernel_driver(),
            compute_capability,
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?
                as usize,
            memory: session.memory().map_err(failed)?,
            kernels: kernels.origin.clone(),
            libraries: found,
        };
        Ok(Self {
            session: Arc::new(session),
            handle,
            kernels,
            about,
        })
    }
}

/// Starts the driver: the device, if there is one of that number, how many there are, and the newest
/// CUDA that the driver knows.
fn first_calls(ordinal: usize) -> Result<(Option<CUdevice>, usize, String), Unavailable> {
    let failed = |error: Error| Unavailable::Failed(error.to_string());
    // SAFETY: the library was found; all places are there to be written.
    unsafe {
        let result = sys::cuInit(0);
        if result == CUresult::CUDA_ERROR_NO_DEVICE {
            return Err(Unavailable::NoDevice { ordinal, count: 0 });
        }
        checked("cuInit", result).map_err(failed)?;
        let mut number = 0;
        let result = sys::cuDriverGetVersion(&raw mut number);
        checked("cuDriverGetVersion", result).map_err(failed)?;
        let mut count = 0;
        let result = sys::cuDeviceGetCount(&raw mut count);
        checked("cuDeviceGetCount", result).map_err(failed)?;
        let mut device = 0;
        let there = ordinal < count as usize;
        if there {
            let result = sys::cuDeviceGet(&raw mut device, ordinal as i32);
            checked("cuDeviceGet", result).map_err(failed)?;
        }
        Ok((there.then_some(device), count as usize, version(number)))
    }
}

fn device_name(device: CUdevice) -> Result<String> {
    let mut name = [0_u8; 256];
    // SAFETY: there is as much room as is said.
    let result = unsafe { sys::cuDeviceGetName(name.as_mut_ptr().cast(), 256, device) };
    checked("cuDeviceGetName", result)?;
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

fn device_attribute(device: CUdevice, which: sys::CUdevice_attribute) -> Result<i32> {
    let mut value = 0;
    // SAFETY: the place is there to be written.
    let result = unsafe { sys::cuDeviceGetAttribute(&raw mut value, which, device) };
    checked("cuDeviceGetAttribute", result)?;
    Ok(value)
}

/// Version of the kernel driver, from where it says it on Linux.
fn kernel_driver() -> String {
    let text = fs_err::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    let mut words = text.split_whitespace();
    let is_version = |word: &&str| {
        word.split('.').count() >= 2 && word.split('.').all(|part| part.parse::<u32>().is_ok())
    };
    words.find(is_version).unwrap_or_default().to_owned()
}

fn session(device: CUdevice) -> Result<Session> {
    let (mut context, mut stream) = (std::ptr::null_mut(), std::ptr::null_mut());
    let mut pool = std::ptr::null_mut();
    // SAFETY: all places are there to be written; the threshold is a 64-bit number.
    unsafe {
        let result = sys::cuDevicePrimaryCtxRetain(&raw mut context, device);
        checked("cuDevicePrimaryCtxRetain", result)?;
        checked("cuCtxSetCurrent", sys::cuCtxSetCurrent(context))?;
        let kind = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        checked("cuStreamCreate", sys::cuStreamCreate(&raw mut stream, kind))?;
        let result = sys::cuDeviceGetDefaultMemPool(&raw mut pool, device);
        checked("cuDeviceGetDefaultMemPool", result)?;
        let mut threshold = u64::MAX;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        let result = sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut threshold).cast());
        checked("cuMemPoolSetAttribute", result)?;
    }
    Ok(Session {
        context,
        stream,
        pool,
    })
}

fn blas_handle(session: &Session) -> Result<cublas::cublasHandle_t, String> {
    let workspace = session
        .allocate(WORKSPACE_BYTES)
        .map_err(|error| error.to_string())?;
    let mut handle = std::ptr::null_mut();
    // SAFETY: the library was found; the workspace is as long as is said and is never given back.
    unsafe {
        blas(cublas::cublasCreate_v2(&raw mut handle))?;
        blas(cublas::cublasSetStream_v2(handle, session.stream.cast()))?;
        blas(cublas::cublasSetWorkspace_v2(
            handle,
            workspace as *mut c_void,
            WORKSPACE_BYTES,
        ))?;
        let mode = cublas::cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
        blas(cublas::cublasSetMathMode(handle, mode))?;
    }
    Ok(handle)
}

impl Driver for Cuda {
    fn description(&self) -> Description {
        let mut about = self.about.clone();
        if let Ok(memory) = self.session.memory() {
            about.memory = memory;
        }
        about
    }

    fn memory(&self) -> Result<Memory> {
        self.session.memory()
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.session.allocate(bytes)
    }

    fn free(&self, address: u64) {
        if self.session.bind().is_ok() {
            // An earlier fault, which this call would only repeat, surfaces where results are read.
            // SAFETY: the address came from `allocate` and is given back once.
            unsafe { sys::cuMemFreeAsync(address, self.session.stream) };
        }
    }

    fn upload(&self, to: u64, bytes: &[u8]) -> Result<()> {
        self.session.bind()?;
        // SAFETY: the buffer has so many bytes. Memory that is not pinned is copied before the call
        // returns.
        let result = unsafe {
            sys::cuMemcpyHtoDAsync_v2(to, bytes.as_ptr().cast(), bytes.len(), self.session.stream)
        };
        checked("cuMemcpyHtoDAsync", result)
    }

    fn download(&self, bytes: &mut [u8], from: u64) -> Result<()> {
        self.session.bind()?;
        // SAFETY: the buffer has so many bytes, and nothing else touches `bytes` until the wait is
        // over.
        let result = unsafe {
            sys::cuMemcpyDtoHAsync_v2(
                bytes.as_mut_ptr().cast(),
                from,
                bytes.len(),
                self.session.stream,
            )
        };
        checked("cuMemcpyDtoHAsync", result)?;
        self.session.synchronise()
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        self.session.bind()?;
        // SAFETY: both buffers have so many bytes.
        let result = unsafe { sys::cuMemcpyDtoDAsync_v2(to, from, bytes, self.session.stream) };
        checked("cuMemcpyDtoDAsync", result)
    }

    fn zero(&self, to: u64, bytes: usize) -> Result<()> {
        self.session.bind()?;
        // SAFETY: the buffer has so many bytes.
        let result = unsafe { sys::cuMemsetD8Async(to, 0, bytes, self.session.stream) };
        checked("cuMemsetD8Async", result)
    }

    fn launch(&self, kernel: &str, grid: Grid, arguments: &[Argument]) -> Result<()> {
        self.session.bind()?;
        let function = self.kernels.get(kernel, grid)?;
        let mut bits: Vec<u64> = arguments.iter().map(|argument| argument.bits).collect();
        let mut pointers: Vec<*mut c_void> = bits
            .iter_mut()
            .map(|bits| (&raw mut *bits).cast())
            .collect();
        let [x, y, z] = grid.blocks;
        // SAFETY: the operations pass what their kernels take (the emulated device checks number and
        // sizes of arguments); numbers are little-endian, so that the first bytes are the value.
        let result = unsafe {
            sys::cuLaunchKernel(
                function,
                x,
                y,
                z,
                grid.threads,
                1,
                1,
                grid.shared,
                self.session.stream,
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        match result {
            CUresult::CUDA_SUCCESS => Ok(()),
            result => Err(Error::Kernel {
                kernel: kernel.to_owned(),
                message: format!("{} with {grid:?}", text_of(result)),
            }),
        }
    }

    fn product(&self, product: &Product) -> Result<()> {
        use cublas::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        use cublas::cublasGemmAlgo_t::CUBLAS_GEMM_DFALT;
        use cublas::cublasOperation_t::{CUBLAS_OP_N, CUBLAS_OP_T};
        self.session.bind()?;
        let kind = |number| match number {
            Number::F32 => cublas::cudaDataType::CUDA_R_32F,
            Number::Bf16 => cublas::cudaDataType::CUDA_R_16BF,
        };
        let turn = |transposed| if transposed { CUBLAS_OP_T } else { CUBLAS_OP_N };
        let (a, b, c) = (product.a, product.b, product.c);
        let size = |size: usize| i32::try_from(size).expect("a matrix has less than 2^31 rows");
        // SAFETY: the matrices lie in buffers, as `ops::matmul` checked; alpha and beta are read
        // before the call returns.
        let status = unsafe {
            cublas::cublasGemmEx(
                self.handle,
                turn(a.transposed),
                turn(b.transposed),
                size(product.m),
                size(product.n),
                size(product.k),
                (&raw const product.alpha).cast(),
                a.address as *const c_void,
                kind(product.inputs),
                size(a.leading),
                b.address as *const c_void,
                kind(product.inputs),
                size(b.leading),
                (&raw const product.beta).cast(),
                c.address as *mut c_void,
                kind(product.output),
                size(c.leading),
                CUBLAS_COMPUTE_32F,
                CUBLAS_GEMM_DFALT,
            )
        };
        blas(status).map_err(|message| Error::Product {
            shape: format!("{product:?}"),
            message,
        })
    }

    fn synchronise(&self) -> Result<()> {
        self.session.synchronise()
    }

    fn begin_recording(&self) -> Result<()> {
        self.session.bind()?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives as long as the process.
        let result = unsafe { sys::cuStreamBeginCapture_v2(self.session.stream, mode) };
        checked("cuStreamBeginCapture", result)
    }

    fn end_recording(&self) -> Result<Box<dyn Recording>> {
        self.session.bind()?;
        let (mut graph, mut runnable) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the stream is being captured; the graph is given back once it has been made
        // runnable.
        unsafe {
            let result = sys::cuStreamEndCapture(self.session.stream, &raw mut graph);
            checked("cuStreamEndCapture", result)?;
            let result = sys::cuGraphInstantiateWithFlags(&raw mut runnable, graph, 0);
            sys::cuGraphDestroy(graph);
            checked("cuGraphInstantiate", result)?;
        }
        Ok(Box::new(Recorded {
            session: Arc::clone(&self.session),
            graph: runnable,
        }))
    }

    #[cfg(feature = "nccl")]
    fn join(
        &self,
        id: &[u8; 128],
        rank: usize,
        size: usize,
    ) -> Result<Box<dyn super::Exchange>, Unavailable> {
        let group = nccl::Group::join(Arc::clone(&self.session), id, rank, size)?;
        Ok(Box::new(group))
    }
}

/// A graph that can be launched.
struct Recorded {
    session: Arc<Session>,
    graph: CUgraphExec,
}

// SAFETY: handles of the driver may be used from any thread.
unsafe impl Send for Recorded {}
// SAFETY: as above.
unsafe impl Sync for Recorded {}

impl Recording for Recorded {
    fn launch(&self) -> Result<()> {
        self.session.bind()?;
        // SAFETY: the graph was made runnable and not given back.
        let result = unsafe { sys::cuGraphLaunch(self.graph, self.session.stream) };
        checked("cuGraphLaunch", result)
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if self.session.bind().is_ok() {
            // SAFETY: the graph was made runnable and is given back once; a launch under way ends
            // first.
            unsafe { sys::cuGraphExecDestroy(self.graph) };
        }
    }
}
