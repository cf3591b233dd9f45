//! The program on a GPU, over a driver that the emulation stands in for: what `doctor` says, what
//! is said where the GPU cannot be used, what is kept when it fails, and several processes.
//!
//! Where a real driver is installed there is nothing to test: `iota doctor --gpu-selftest` does.
#![allow(clippy::unwrap_used)]

mod program;

use program::{Program, stderr};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command, Output};

/// The libraries that stand in for NVIDIA's.
const LIBRARIES: [&str; 5] = [
    "libcuda.so.1",
    "libcublasLt.so.13",
    "libcublas.so.13",
    "libnvrtc.so.13",
    "libnccl.so.2",
];

/// A machine with a GPU: a store, and a folder of libraries.
struct Machine {
    program: Program,
    libraries: PathBuf,
}

/// A store with all that training reads.
fn prepared() -> Program {
    let program = Program::new();
    program.succeed(&["run", "init", "mix"]);
    program
}

impl Machine {
    /// With all libraries but those named, and a copy of a store.
    fn without(missing: &[&str], store: &Program) -> Self {
        let program = Program::copy_of(store);
        let libraries = program.directory.path().join("libraries");
        fs_err::create_dir(&libraries).unwrap();
        for name in LIBRARIES {
            if !missing.contains(&name) {
                let from = PathBuf::from(model::device::DRIVER_OF_THE_TESTS).join(name);
                std::os::unix::fs::symlink(from, libraries.join(name)).unwrap();
            }
        }
        Self { program, libraries }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program.command(args);
        command
            .env("LD_LIBRARY_PATH", &self.libraries)
            .env("XDG_CACHE_HOME", self.program.directory.path())
            .env("IOTA_DEVICE", "cuda")
            // Libraries of this machine are none of the test's.
            .env("PATH", "/usr/bin:/bin")
            .env_remove("VIRTUAL_ENV")
            .env_remove("CONDA_PREFIX")
            .env_remove("CUDA_HOME")
            .env_remove("CUDA_PATH");
        command
    }

    fn run(&self, args: &[&str], settings: &[(&str, &str)]) -> Output {
        let mut command = self.command(args);
        command.envs(settings.iter().copied()).output().unwrap()
    }

    /// The line of `doctor` about a thing, and whether it is well.
    fn doctor(&self, name: &str, settings: &[(&str, &str)]) -> (bool, String) {
        let output = self.run(&["doctor", "--json"], settings);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = said["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == name).unwrap();
        let detail = check["detail"].as_str().unwrap().to_owned();
        (check["good"].as_bool().unwrap(), detail)
    }

    fn one(&self, rank: usize, size: usize, port: u16, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command
            .env("RANK", rank.to_string())
            .env("WORLD_SIZE", size.to_string())
            // The tests' driver has one GPU; each process has a driver of its own.
            .env("LOCAL_RANK", "0")
            .env("MASTER_ADDR", "127.0.0.1")
            .env("MASTER_PORT", port.to_string());
        command.spawn().unwrap()
    }

    /// All ranks of a run; what each said at the end.
    fn together(&self, size: usize, args: &[&str]) -> Vec<Output> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let ranks: Vec<Child> = (0..size)
            .map(|rank| self.one(rank, size, port, args))
            .collect();
        let outputs = ranks.into_iter().map(Child::wait_with_output);
        outputs.map(Result::unwrap).collect()
    }
}

/// Training small enough for a device that is emulated.
const TRAIN: &[&str] = &[
    "run",
    "base",
    "--set",
    "base.ranks=2",
    "--set",
    "base.max_steps=3",
    "--set",
    "base.evaluations=0",
    "--set",
    "base.packing=false",
    "--set",
    "base.max_tokens=96",
    "--set",
    "base.how.checkpoint_every_steps=1",
];

fn real_driver() -> bool {
    ["/proc/driver/nvidia/version", "/dev/nvidiactl"]
        .iter()
        .any(|path| std::path::Path::new(path).exists())
}

#[test]
fn doctor_says_what_is_there_and_what_is_missing() {
    if real_driver() {
        return;
    }
    let store = prepared();
    let whole = Machine::without(&[], &store);
    let (good, text) = whole.doctor("GPU", &[]);
    assert!(good, "{text}");
    for part in [
        "a GPU of the tests",
        "compute 9.0",
        "992.0 MiB of 1.0 GiB free",
        "libcublas.so.13",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let (good, text) = whole.doctor("NCCL", &[]);
    assert!(good && text.starts_with("2.18.5"), "{text}");

    let missing = |library: &str| Machine::without(&[library], &store);
    for (machine, settings, wanted) in [
        (missing("libcuda.so.1"), &[][..], "no NVIDIA driver here"),
        (
            missing("libcublas.so.13"),
            &[],
            "libcublas.so.13 was not found",
        ),
        (
            missing("libcublasLt.so.13"),
            &[],
            "libcublasLt.so.13 was not found",
        ),
        (
            missing(""),
            &[("IOTA_TEST_CUDA", "12040")],
            "knows CUDA 12.4",
        ),
    ] {
        let (good, text) = machine.doctor("GPU", settings);
        assert!(!good && text.contains(wanted), "{text}");
        // Training says it in as many words, before it does anything.
        let output = machine.run(TRAIN, settings);
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(
            text.contains(wanted) && text.contains("--device cuda:0"),
            "{text}"
        );
        assert!(!machine.program.artifacts().join("refs/tiny/base").exists());
        // Where nobody insists, the CPU does it, and says why.
        let args = [&["--device", "auto"], TRAIN].concat();
        let output = machine.run(&args, settings);
        let text = stderr(&output);
        assert!(output.status.success(), "{text}");
        assert!(
            text.contains("computing on the CPU") && text.contains(wanted),
            "{text}"
        );
    }
    let (good, text) = missing("libnccl.so.2").doctor("NCCL", &[]);
    assert!(
        good && text.contains("libnccl.so.2 was not found"),
        "{text}"
    );
}

#[test]
fn what_does_not_fit_is_said_before_it_starts() {
    if real_driver() {
        return;
    }
    let store = prepared();
    let machine = Machine::without(&[], &store);
    // The workspace of products takes 34 MB of it.
    let little = [("IOTA_TEST_MEMORY", "34500000")];
    let output = machine.run(TRAIN, &little);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("is too small for this run"), "{text}");
    assert!(text.contains("help:"), "{text}");
    assert!(!machine.program.artifacts().join("refs/tiny/base").exists());
    let none = [("IOTA_TEST_MEMORY", "30000000")];
    let text = stderr(&machine.run(TRAIN, &none));
    assert!(text.contains("has no 33554432 bytes left"), "{text}");
}

#[test]
fn what_fails_on_the_way_is_kept_and_goes_on() {
    if real_driver() {
        return;
    }
    let store = prepared();
    let machine = Machine::without(&[], &store);
    let whole = machine.run(TRAIN, &[]);
    assert!(whole.status.success(), "{}", stderr(&whole));
    let wanted = machine.program.digests();
    // Later and later, until the run ends before it.
    let (mut failures, mut resumed) = (0, 0);
    for failing in [60, 120, 180, 240, 300, 360] {
        let machine = Machine::without(&[], &store);
        let output = machine.run(TRAIN, &[("IOTA_TEST_FAILING", &failing.to_string())]);
        if output.status.success() {
            continue;
        }
        failures += 1;
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("bytes left"), "{failing}: {text}");
        let output = machine.run(TRAIN, &[]);
        let text = stderr(&output);
        assert!(output.status.success(), "{failing}: {text}");
        assert_eq!(machine.program.digests(), wanted, "{failing}");
        let trace = machine.program.succeed(&["show", "base", "--json"]);
        let trace: Value = serde_json::from_str(&trace).unwrap();
        resumed += usize::from(
            trace["resumed_from"]
                .as_array()
                .is_some_and(|from| !from.is_empty()),
        );
    }
    assert!(
        failures >= 2 && resumed >= 1,
        "{failures} failures, {resumed} resumed"
    );
}

#[test]
fn numbers_that_are_not_finite_end_the_run() {
    if real_driver() {
        return;
    }
    let store = prepared();
    let machine = Machine::without(&[], &store);
    let mut args = TRAIN.to_vec();
    args.extend([
        "--set",
        "base.learning_rate=1e30",
        "--set",
        "base.warmup_steps=0",
    ]);
    let output = machine.run(&args, &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("is not finite"), "{text}");
    assert!(text.contains("lower learning_rate"), "{text}");
}

#[test]
fn several_processes_with_a_gpu_each_train_what_one_trains() {
    if real_driver() {
        return;
    }
    let store = prepared();
    let alone = Machine::without(&[], &store);
    let output = alone.run(TRAIN, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    for means in ["nccl", "tcp"] {
        let machine = Machine::without(&[], &store);
        let mut args = TRAIN.to_vec();
        args.extend(["--data-parallel", means]);
        for output in machine.together(2, &args) {
            assert!(output.status.success(), "{means}: {}", stderr(&output));
        }
        assert_eq!(
            machine.program.digests(),
            alone.program.digests(),
            "{means}"
        );
    }
}

#[test]
fn without_nccl_all_processes_say_so() {
    if real_driver() {
        return;
    }
    let store = prepared();
    let machine = Machine::without(&["libnccl.so.2"], &store);
    let mut args = TRAIN.to_vec();
    args.extend(["--data-parallel", "nccl"]);
    for output in machine.together(2, &args) {
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(text.contains("libnccl.so.2 was not found"), "{text}");
    }
}
