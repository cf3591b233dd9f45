//! Sums over several processes: the code of NCCL's side, over a libnccl and a libcuda that the
//! emulation stands in for.
//!
//! The test starts itself again, once for every rank, with the stand-ins in the loader's path.

#![allow(clippy::unwrap_used)]

use gpu::nccl::{Communicator, UniqueId, library, unique_id};
use gpu::{Device, Error};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// More than one piece, and parts that differ in length.
const LENGTH: usize = 1003;

fn value(rank: usize, i: usize) -> f32 {
    ((rank * 37 + i * i) % 101) as f32 * 1e-3 + 1e4
}

/// The tree of halves.
fn tree(values: &[f32]) -> f32 {
    if let [value] = values {
        return *value;
    }
    let (lower, upper) = values.split_at(values.len() / 2);
    tree(lower) + tree(upper)
}

fn rank(test: &str, rank: usize, size: usize, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("LD_LIBRARY_PATH", gpu::DRIVER_OF_THE_TESTS)
        .env("XDG_CACHE_HOME", folder)
        .env("RANK", rank.to_string())
        .env("WORLD_SIZE", size.to_string())
        .env("FOLDER", folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A folder of its own, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("iota-{name}-{}", std::process::id()));
        fs_err::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs_err::remove_dir_all(&self.0);
    }
}

/// What this process is, as [`rank`] said; a real driver leaves nothing to test here.
fn joined() -> Option<(usize, usize, Device, Communicator)> {
    let number = |name| std::env::var(name).ok()?.parse::<usize>().ok();
    let (rank, size) = (number("RANK")?, number("WORLD_SIZE")?);
    let place = PathBuf::from(std::env::var_os("FOLDER")?).join("id");
    let device = Device::cuda(0).unwrap();
    if device.describe().name != "a GPU of the tests" {
        return None;
    }
    assert_eq!(library().unwrap().0, "2.18.5");
    let id: UniqueId = if rank == 0 {
        let id = unique_id().unwrap();
        let half = place.with_extension("half");
        fs_err::write(&half, id).unwrap();
        fs_err::rename(&half, &place).unwrap();
        id
    } else {
        while !place.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        fs_err::read(&place).unwrap().try_into().unwrap()
    };
    let group = Communicator::new(&device, &id, rank, size).unwrap();
    Some((rank, size, device, group.with_part(100)))
}

#[test]
#[ignore = "one rank of the tests below"]
fn a_rank_that_adds() {
    let Some((rank, size, device, group)) = joined() else {
        return;
    };
    for length in [LENGTH, 1, 64, 0] {
        let values: Vec<f32> = (0..length).map(|i| value(rank, i)).collect();
        let mut values = device.upload(&values).unwrap();
        group.sum(values.view_mut(), || Ok::<_, Error>(())).unwrap();
        for (i, sum) in values.download().unwrap().into_iter().enumerate() {
            let all: Vec<f32> = (0..size).map(|rank| value(rank, i)).collect();
            assert_eq!(sum.to_bits(), tree(&all).to_bits(), "value {i} of {length}");
        }
    }
}

#[test]
fn sums_are_those_of_the_tree_of_halves_on_any_number_of_ranks() {
    for size in [1, 2, 3, 4] {
        let folder = Folder::new(&format!("nccl-{size}"));
        let ranks: Vec<Child> = (0..size)
            .map(|own| rank("a_rank_that_adds", own, size, &folder.0))
            .collect();
        for child in ranks {
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{size} ranks: {text}{errors}");
            assert!(text.contains("1 passed"), "{text}");
        }
    }
}

#[derive(Debug)]
struct Gone;

impl From<Error> for Gone {
    fn from(error: Error) -> Self {
        panic!("{error}");
    }
}

#[test]
#[ignore = "one rank of the test below"]
fn a_rank_that_leaves_or_waits() {
    let Some((rank, _, device, group)) = joined() else {
        return;
    };
    if rank == 1 {
        return;
    }
    let mut values = device.zeros::<f32>(LENGTH).unwrap();
    // NCCL would wait for ever; whoever knows better ends it.
    let asked = std::cell::Cell::new(0);
    let alive = || {
        asked.set(asked.get() + 1);
        if asked.get() < 3 { Ok(()) } else { Err(Gone) }
    };
    assert!(group.sum(values.view_mut(), alive).is_err());
    assert_eq!(asked.get(), 3);
}

#[test]
fn a_rank_that_has_gone_is_not_waited_for() {
    let folder = Folder::new("nccl-gone");
    let ranks = [0, 1].map(|own| rank("a_rank_that_leaves_or_waits", own, 2, &folder.0));
    for child in ranks {
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
    }
}
