//! The precompiled header, and what becomes of a weak or foreign launcher.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::path::PathBuf;

use fs_err as fs;
use sandbox::{Error, Language::Cpp, Limits, Options, Sandbox};

sandbox::launcher_before_main!();

#[test]
fn the_precompiled_header_is_made_once_and_changes_no_program() {
    let cache = tempfile::tempdir().unwrap();
    let options = Options {
        workers: 1,
        cache_dir: Some(cache.path().to_owned()),
        ..Options::default()
    };
    let sandbox = Sandbox::new(&options).unwrap();
    assert!(sandbox.has_precompiled_header());
    let run = |source: &str| {
        let program = sandbox.compile(Cpp, source.as_bytes()).unwrap().unwrap();
        let outcome = sandbox.run(&program, b"", &Limits::default()).unwrap();
        assert_eq!(outcome.failure(), None, "{outcome:?}");
        String::from_utf8(outcome.stdout).unwrap()
    };
    assert_eq!(
        run("#include <bits/stdc++.h>\nint main(){std::cout<<std::gcd(12,18);}"),
        "6"
    );
    let own_names =
        "#include <cstdio>\nint rank=1,count=2,prev=3;int main(){printf(\"%d\",rank+count+prev);}";
    assert_eq!(
        run(own_names),
        "6",
        "the header is never forced upon a program"
    );
    let counted = |folder: &std::path::Path| fs::read_dir(folder).unwrap().count();
    assert_eq!(counted(&cache.path().join("headers")), 1);
    drop(sandbox);
    let made = fs::read_dir(cache.path().join("headers"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let header = made.join("bits/stdc++.h.gch");
    let before = fs::metadata(&header).unwrap().modified().unwrap();
    assert!(Sandbox::new(&options).unwrap().has_precompiled_header());
    assert_eq!(fs::metadata(&header).unwrap().modified().unwrap(), before);
}

#[test]
fn a_binary_that_is_no_launcher_is_named() {
    for binary in ["/bin/true", "/bin/false"] {
        let options = Options {
            launcher: Some(PathBuf::from(binary)),
            ..Options::default()
        };
        let error = Sandbox::new(&options).err().expect("no launcher answers");
        assert!(matches!(error, Error::NoHandshake { .. }), "{error}");
        assert!(
            error.to_string().contains("launcher_main_if_requested"),
            "{error}"
        );
    }
}
