//! One sandbox for all tests of a binary, and short ways to run programs in it.

use std::sync::LazyLock;

use sandbox::{Compiled, Language, Limits, Options, Outcome, Sandbox};

static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| {
    Sandbox::new(&Options {
        workers: 2,
        ..Options::default()
    })
    .expect("a container on this machine")
});

pub(crate) fn sandbox() -> &'static Sandbox {
    &SANDBOX
}

pub(crate) fn compile(language: Language, source: &str) -> Compiled {
    sandbox()
        .compile(language, source.as_bytes())
        .expect("the sandbox works")
        .expect("the program compiles")
}

pub(crate) fn run(language: Language, source: &str, stdin: &str) -> Outcome {
    run_within(language, source, stdin, &Limits::default())
}

pub(crate) fn run_within(
    language: Language,
    source: &str,
    stdin: &str,
    limits: &Limits,
) -> Outcome {
    sandbox()
        .run(&compile(language, source), stdin.as_bytes(), limits)
        .expect("the sandbox works")
}

/// What a program that ended well wrote.
#[track_caller]
pub(crate) fn text(outcome: &Outcome) -> &str {
    assert_eq!(outcome.failure(), None, "{outcome:?}");
    std::str::from_utf8(&outcome.stdout).expect("UTF-8")
}
