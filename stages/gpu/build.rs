//! Puts the kernels into the crate.
//!
//! `kernels/*.cu` with `prelude.cuh` before them are one module. With the feature `cuda` its text
//! is embedded, for NVRTC, and if an nvcc is found also what that makes of it (machine code for
//! sm_90a, PTX for compute_80), as cfg `kernels_built`. With the feature `emulation` the same text,
//! with `emulation/prelude.h` before it, is compiled by g++.

use std::env;
use std::path::{Path, PathBuf};

use fs_err as fs;

fn main() {
    println!("cargo:rustc-check-cfg=cfg(kernels_built)");
    println!("cargo:rerun-if-changed=build.rs");
    for folder in ["kernels", "emulation"] {
        println!("cargo:rerun-if-changed={folder}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    #[cfg(feature = "cuda")]
    cuda(&out);
    #[cfg(feature = "emulation")]
    emulation(&out);
    let _ = out;
}

/// All kernels, one after another in order of name, each with its place for messages.
#[cfg_attr(not(any(feature = "cuda", feature = "emulation")), allow(dead_code))]
fn kernels() -> String {
    // What they share comes first.
    let mut files = vec![PathBuf::from("kernels/common.cuh")];
    let mut kernels: Vec<PathBuf> = fs::read_dir("kernels")
        .expect("the folder kernels is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "cu"))
        .collect();
    kernels.sort();
    files.append(&mut kernels);
    let text = |path: &Path| {
        let text = fs::read_to_string(path).expect("a kernel's text can be read");
        format!("#line 1 \"{}\"\n{text}\n", path.display())
    };
    files.iter().map(|path| text(path)).collect()
}

#[cfg(feature = "cuda")]
fn cuda(out: &Path) {
    use std::process::Command;

    for name in ["NVCC", "CUDA_HOME", "CUDA_PATH", "IOTA_NO_NVCC"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let prelude = fs::read_to_string("kernels/prelude.cuh").expect("the prelude is there");
    let source = out.join("kernels.cu");
    let text = format!("#line 1 \"kernels/prelude.cuh\"\n{prelude}\n{}", kernels());
    fs::write(&source, text).expect("the build folder can be written to");

    let mut candidates: Vec<String> = env::var("NVCC").into_iter().collect();
    for name in ["CUDA_HOME", "CUDA_PATH"] {
        candidates.extend(env::var(name).map(|home| format!("{home}/bin/nvcc")));
    }
    candidates.extend(["nvcc".to_owned(), "/usr/local/cuda/bin/nvcc".to_owned()]);
    let version_of = |nvcc: &String| {
        let output = Command::new(nvcc).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let version = text.split("release ").nth(1)?.split(',').next()?;
        Some((nvcc.clone(), version.to_owned()))
    };
    if env::var_os("IOTA_NO_NVCC").is_some() {
        return;
    }
    let Some((nvcc, version)) = candidates.iter().find_map(version_of) else {
        return;
    };
    let status = Command::new(&nvcc)
        .args(["-fatbin", "-O3", "-std=c++17", "-Xptxas", "-v"])
        .arg("-gencode=arch=compute_90a,code=sm_90a")
        .arg("-gencode=arch=compute_80,code=compute_80")
        .arg("-o")
        .arg(out.join("kernels.fatbin"))
        .arg(&source)
        .status()
        .expect("nvcc just ran");
    assert!(status.success(), "{nvcc} refused the kernels: see above");
    println!("cargo:rustc-cfg=kernels_built");
    println!("cargo:rustc-env=KERNELS_CUDA={version}");
}

#[cfg(feature = "emulation")]
fn emulation(out: &Path) {
    let source = out.join("emulated.cpp");
    let text = format!(
        "#include \"prelude.h\"\nextern \"C\" void emulation_kernels() {{}}\n{}",
        kernels()
    );
    fs::write(&source, text).expect("the build folder can be written to");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .include("emulation")
        .file(&source)
        .file("emulation/runtime.cpp")
        .flag("-Wno-unknown-pragmas")
        .flag("-Wno-unused-function")
        .compile("iota_gpu_emulation");
    #[cfg(feature = "cuda")]
    driver_of_the_tests(out, &source);
}

/// libcuda and cuBLAS of the tests, `emulation/driver.cpp` over the same emulation; NVRTC and NCCL.
#[cfg(all(feature = "cuda", feature = "emulation"))]
fn driver_of_the_tests(out: &Path, kernels: &Path) {
    let folder = out.join("driver");
    fs::create_dir_all(&folder).expect("the build folder can be written to");
    let compiler = cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .get_compiler();
    for name in [
        "libcuda.so.1",
        "libcublasLt.so.13",
        "libcublas.so.13",
        "libnvrtc.so.13",
        "libnccl.so.2",
    ] {
        let mut command = compiler.to_command();
        command.args(["-shared", "-fPIC", "-w", "-Iemulation", "-Wl,-Bsymbolic"]);
        command.arg(format!("-Wl,-soname,{name}"));
        command.arg("-o").arg(folder.join(name));
        // cuBLAS needs nothing but its products, cuBLASLt is only looked for.
        match name {
            "libcublasLt.so.13" => command.arg("-xc++").arg("/dev/null"),
            "libnvrtc.so.13" => command.arg("emulation/nvrtc.cpp"),
            "libnccl.so.2" => command.arg("emulation/nccl.cpp"),
            _ => command
                .args(["emulation/driver.cpp", "emulation/runtime.cpp"])
                .arg(kernels),
        };
        let status = command.status().expect("the compiler just ran");
        assert!(status.success(), "{name} of the tests could not be built");
    }
    println!("cargo:rustc-env=DRIVER_OF_THE_TESTS={}", folder.display());
}
