//! Several processes that train together over TCP: the bytes of one, and what happens when one goes.
#![allow(clippy::unwrap_used)]

mod program;

use program::{Program, stderr};
use std::process::{Child, Output};

/// The paper's two ranks, an adapter with dropout, and validation.
const RUN: &[&str] = &[
    "run",
    "dpo",
    "--set",
    "base.ranks=2",
    "--set",
    "sft.ranks=2",
    "--set",
    "dpo.ranks=2",
    "--set",
    "dpo.adapter.dropout=0.2",
];

fn start(program: &Program, rank: usize, port: u16, args: &[&str]) -> Child {
    let mut command = program.command(&[RUN, &["--data-parallel", "tcp"], args].concat());
    command
        .env("RANK", rank.to_string())
        .env("WORLD_SIZE", "2")
        .env("MASTER_ADDR", "127.0.0.1")
        .env("MASTER_PORT", port.to_string());
    command.spawn().unwrap()
}

/// Both ranks of a run over one store, and what each said at the end.
fn together(program: &Program, args: &[&str], meanwhile: impl Fn(&mut [Child; 2])) -> [Output; 2] {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut ranks = [0, 1].map(|rank| start(program, rank, port, args));
    meanwhile(&mut ranks);
    ranks.map(|rank| rank.wait_with_output().unwrap())
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let status = std::process::Command::new("kill")
        .args([name, &pid])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn two_processes_make_what_one_makes() {
    let alone = Program::new();
    alone.succeed(RUN);
    let program = Program::new();
    for output in together(&program, &[], |_| {}) {
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert_eq!(program.digests(), alone.digests());
}

#[test]
fn what_one_process_leaves_both_go_on_from() {
    let longer = ["--set", "sft.max_steps=300"];
    let alone = Program::new();
    alone.succeed(&[RUN, &longer].concat());
    for (name, code) in [("-TERM", 75), ("-KILL", 1)] {
        let program = Program::new();
        // Rank 1 is told to stop, or dies, once there is a checkpoint.
        let outputs = together(&program, &longer, |ranks| {
            let partial = program.artifacts().join("partial");
            loop {
                let kept = fs_err::read_dir(&partial).into_iter().flatten().flatten();
                let kept = kept.flat_map(|key| fs_err::read_dir(key.path()).into_iter().flatten());
                if kept.count() > 0 && program.artifacts().join("refs/tiny/base").exists() {
                    break;
                }
                assert!(ranks[0].try_wait().unwrap().is_none(), "it has ended");
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            signal(&ranks[1], name);
        });
        let text = stderr(&outputs[0]);
        assert_eq!(outputs[0].status.code(), Some(code), "{text}");
        if code == 1 {
            assert!(text.contains("rank 1 has gone"), "{text}");
        }
        for output in together(&program, &longer, |_| {}) {
            assert!(output.status.success(), "{}", stderr(&output));
        }
        assert_eq!(program.digests(), alone.digests(), "{name}");
    }
}

#[test]
fn what_cannot_be_shared_is_said_by_both() {
    let program = Program::new();
    for output in together(&program, &["--set", "base.ranks=1"], |_| {}) {
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(
            text.contains("ranks = 1 cannot be shared by 2 processes"),
            "{text}"
        );
    }
    let output = program.run(&[RUN, &["--data-parallel", "tcp"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("RANK is not set"),
        "{}",
        stderr(&output)
    );
    let output = program.run(&[RUN, &["--data-parallel", "mpi"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("there are nccl and tcp"),
        "{}",
        stderr(&output)
    );
}
