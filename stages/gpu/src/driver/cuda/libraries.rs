//! Finds CUDA's libraries before they are used.
//!
//! cudarc opens each library by name at its first call and panics if there is none. So each is
//! opened here first: by name, then in the folders where toolkits and the wheels of Python
//! environments put them. A library opened by its path is found again by its name. Nothing is
//! closed: the process keeps what it opened.

#![allow(unsafe_code)] // opening a library runs its initialisers

use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use crate::error::Unavailable;

/// A library that was opened: its name and where it was found.
pub(super) type Found = (String, String);

/// The driver's library, by name only: it belongs to the system.
pub(super) fn driver() -> Result<Found, Unavailable> {
    open(&["libcuda.so.1", "libcuda.so"], &[]).ok_or(Unavailable::NoDriver)
}

/// cuBLAS.
pub(super) fn cublas() -> Result<Vec<Found>, Unavailable> {
    let folders = folders();
    // cuBLAS needs the other; opened first, it is there.
    let light = find(&["libcublasLt.so.13", "libcublasLt.so.12"], &folders)?;
    let library = find(&["libcublas.so.13", "libcublas.so.12"], &folders)?;
    Ok(vec![light, library])
}

/// NCCL, to look its functions up in.
#[cfg(feature = "nccl")]
pub(super) fn nccl() -> Result<(Library, Found), Unavailable> {
    let (names, folders) = (["libnccl.so.2", "libnccl.so"], folders());
    open_library(&names, &folders).ok_or_else(|| missing(&names, &folders))
}

/// The compiler for kernels.
pub(super) fn nvrtc() -> Result<Found, Unavailable> {
    let folders = folders();
    // NVRTC opens its builtins by plain name: where they are not in the loader's path, they must be
    // open before.
    for folder in &folders {
        let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("libnvrtc-builtins.so.") {
                open(&[&name], std::slice::from_ref(folder));
            }
        }
    }
    find(&["libnvrtc.so.13", "libnvrtc.so.12"], &folders)
}

fn find(names: &[&str], folders: &[PathBuf]) -> Result<Found, Unavailable> {
    open(names, folders).ok_or_else(|| missing(names, folders))
}

fn missing(names: &[&str], folders: &[PathBuf]) -> Unavailable {
    Unavailable::MissingLibrary {
        library: names[0].to_owned(),
        looked: std::iter::once(String::new())
            .chain(folders.iter().map(|folder| folder.display().to_string()))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// Opens a library for the rest of the process.
fn open(names: &[&str], folders: &[PathBuf]) -> Option<Found> {
    let (library, found) = open_library(names, folders)?;
    std::mem::forget(library);
    Some(found)
}

fn open_library(names: &[&str], folders: &[PathBuf]) -> Option<(Library, Found)> {
    for name in names {
        let candidates = folders.iter().map(|folder| folder.join(name));
        for path in std::iter::once(PathBuf::from(name)).chain(candidates) {
            // SAFETY: these are NVIDIA's libraries, whose initialisers ask for nothing.
            if let Ok(library) = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) } {
                let place = if path.components().count() == 1 {
                    "the loader's path".to_owned()
                } else {
                    path.display().to_string()
                };
                return Some((library, ((*name).to_owned(), place)));
            }
        }
    }
    None
}

/// Where libraries may be: toolkits, then the wheels of Python environments. Those that exist.
fn folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for name in ["CUDA_HOME", "CUDA_PATH"] {
        if let Some(home) = std::env::var_os(name) {
            folders.extend(["lib64", "lib"].map(|lib| Path::new(&home).join(lib)));
        }
    }
    folders.push("/usr/local/cuda/lib64".into());
    let mut roots: Vec<PathBuf> = Vec::new();
    for name in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        roots.extend(std::env::var_os(name).map(PathBuf::from));
    }
    roots.push(".venv".into());
    // The environment of the python3 that would run.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let python = std::env::split_paths(&path).find(|folder| folder.join("python3").exists());
    roots.extend(python.and_then(|bin| bin.parent().map(Path::to_owned)));
    for root in roots {
        for python in entries(&root.join("lib")) {
            let named = python.file_name().is_some_and(|name| {
                let name = name.to_string_lossy();
                name.starts_with("python3")
            });
            if named {
                for packages in ["site-packages", "dist-packages"] {
                    let wheels = entries(&python.join(packages).join("nvidia"));
                    folders.extend(wheels.iter().map(|wheel| wheel.join("lib")));
                }
            }
        }
    }
    folders.retain(|folder| folder.is_dir());
    folders
}

/// What a folder has, sorted; nothing if it is not there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
