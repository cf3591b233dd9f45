//! Machines and inputs that make trouble: what is missing is said, what is large passes, and no
//! verdict is wrong. Conditions are set up in a mount namespace of the test's own, in which this
//! binary is started again.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed step fails the test; a child reports"
)]

mod support;

use std::{path::PathBuf, process::Command};

use sandbox::{
    Language::{self, C, Cpp, Python3},
    Limits, Options, Sandbox,
};
use support::{run, sandbox as shared, text};

sandbox::launcher_before_main!();

const REPORT: &str = "IOTA_TEST_REPORT";

/// What a sandbox that is started now can do, line by line; the other tests' child.
#[test]
fn report_of_a_child() {
    if std::env::var_os(REPORT).is_none() {
        return;
    }
    let options = Options {
        workers: 1,
        cache_dir: std::env::var_os("CACHE").map(PathBuf::from),
        python3: std::env::var_os("PYTHON").map(PathBuf::from),
        ..Options::default()
    };
    let sandbox = match Sandbox::new(&options) {
        Ok(sandbox) => sandbox,
        Err(error) => return println!("refused: {error}"),
    };
    println!("set: {}", sandbox.isolation());
    println!("header: {}", sandbox.has_precompiled_header());
    let said = |language: Language, source: &str| -> String {
        let program = match sandbox.compile(language, source.as_bytes()) {
            Ok(program) => program.unwrap(),
            Err(error) => return format!("error: {error}"),
        };
        let outcome = sandbox.run(&program, b"3 4\n", &Limits::default()).unwrap();
        match outcome.failure() {
            None => String::from_utf8(outcome.stdout).unwrap().trim().to_owned(),
            Some(verdict) => verdict.code().to_owned(),
        }
    };
    let sum = "#include <bits/stdc++.h>\nint main(){int a,b;std::cin>>a>>b;std::cout<<a+b;}";
    println!("c++: {}", said(Cpp, sum));
    println!("c: {}", said(C, "int main(){return 0;}"));
    println!(
        "python: {}",
        said(Python3, "print(sum(map(int, input().split())))")
    );
    let hog = "x = bytearray(1 << 29)\nprint(len(x))";
    println!("memory: {}", said(Python3, hog));
    let files = "open('own', 'w').write('x' * 9)\nprint(len(open('own').read()))";
    println!("files: {}", said(Python3, files));
}

/// The report under conditions made by a script; `None` where no mounts can be made.
fn under(script: &str) -> Option<String> {
    let own = std::env::current_exe().unwrap();
    let able = Command::new("unshare")
        .args(["--mount", "--map-root-user", "true"])
        .status();
    if !able.is_ok_and(|status| status.success()) {
        return None;
    }
    let script = format!("{script}\nexec \"$OWN\" --exact report_of_a_child --nocapture");
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-ec", &script])
        .env("OWN", own)
        .env(REPORT, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(said)
}

fn has(said: &str, line: &str) {
    assert!(said.contains(line), "no `{line}` in:\n{said}");
}

#[test]
fn root_of_a_container_without_a_control_group_still_judges() {
    // Control groups are mounted, but none can be made.
    let script = "for place in /sys/fs/cgroup/memory /sys/fs/cgroup/unified /sys/fs/cgroup; do\n\
         mount --bind $place $place && mount -o remount,bind,ro $place || true; done 2>/dev/null";
    let Some(said) = under(script) else { return };
    has(&said, "cgroup=none,mem=rlimit");
    has(
        &said,
        "set: isolation=userns+pid+net+mnt+ipc+uts,uid,seccomp,rlimits",
    );
    has(&said, "c++: 7\n");
    has(&said, "python: 7\n");
    has(&said, "files: 9\n");
    assert!(!said.contains("memory: 536870912"), "{said}");
}

#[test]
fn a_read_only_tmp_is_done_without_and_its_like_are_named() {
    let Some(said) = under("mount -t tmpfs -o ro tmpfs /tmp") else {
        return;
    };
    has(&said, "c++: 7\n");
    has(&said, "python: 7\n");
    let none = under(
        "for place in /tmp /dev/shm /var/tmp; do mount -t tmpfs -o ro tmpfs $place; done\n\
         unset TMPDIR",
    );
    has(&none.unwrap(), "set TMPDIR");
}

#[test]
fn a_full_disk_costs_the_header_and_no_verdict() {
    let Some(said) = under("mount -t tmpfs -o size=64k tmpfs /mnt\nexport CACHE=/mnt/cache") else {
        return;
    };
    has(&said, "header: false\n");
    has(&said, "c++: 7\n");
}

#[test]
fn without_namespaces_and_another_user_nothing_runs() {
    let script = "for kind in user mnt pid net ipc uts; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done";
    let Some(said) = under(script) else { return };
    has(&said, "refused: ");
    assert!(
        said.contains("namespaces") || said.contains("minimum"),
        "{said}"
    );
}

#[test]
fn a_missing_tool_is_named_with_the_way_to_get_it() {
    let script = "for tool in g++ gcc; do mount --bind /dev/null $(readlink -f /usr/bin/$tool); done\n\
         export PYTHON=/no/such/python3";
    let Some(said) = under(script) else { return };
    has(&said, "c++: error: ");
    has(&said, "apt-get install g++");
    has(&said, "python: error: ");
    has(&said, "apt-get install python3");
}

#[test]
fn a_hundred_megabytes_of_input_arrive() {
    let input = "0123456789abcdef\n".repeat((100 << 20) / 17);
    let count = "#include <cstdio>\nint main(){static char b[1<<16];long long n=0,k;\
        while((k=fread(b,1,sizeof b,stdin))>0)n+=k;printf(\"%lld\\n\",n);}";
    assert_eq!(text(&run(Cpp, count, &input)), format!("{}\n", input.len()));
    let python = "import sys\nprint(sum(map(len, sys.stdin.buffer)))";
    assert_eq!(
        text(&run(Python3, python, &input)),
        format!("{}\n", input.len())
    );
}

#[test]
fn ten_megabytes_of_program_are_a_program() {
    let padding = |mark: &str| format!("{mark} 23456789\n").repeat((10 << 20) / 12);
    let long = format!("{}int main(){{return 0;}}", padding("//"));
    assert_eq!(run(Cpp, &long, "").failure(), None);
    let long = format!("{}print(7)", padding("# "));
    assert_eq!(text(&run(Python3, &long, "")), "7\n");
    let rubbish = "int x;\n".repeat((10 << 20) / 7);
    let rejected = shared().compile(Cpp, rubbish.as_bytes()).unwrap();
    let message = rejected.unwrap_err().message;
    assert!(
        !message.is_empty() && message.len() <= 4 << 10,
        "{}",
        message.len()
    );
}

/// All processes that descend from one.
fn descendants(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut next = vec![of];
    while let Some(pid) = next.pop() {
        let path = format!("/proc/{pid}/task/{pid}/children");
        let tasks = fs_err::read_dir(format!("/proc/{pid}/task"));
        let lists = tasks.into_iter().flatten().flatten();
        let lists = lists.map(|task| task.path().join("children"));
        for list in [PathBuf::from(path)].into_iter().chain(lists) {
            let children = fs_err::read_to_string(list).unwrap_or_default();
            let children = children
                .split_whitespace()
                .filter_map(|word| word.parse().ok());
            for child in children {
                if !found.contains(&child) {
                    found.push(child);
                    next.push(child);
                }
            }
        }
    }
    found
}

#[test]
fn a_machine_that_stands_still_is_no_program_that_sleeps() {
    let busy = "#include <ctime>\nint main(){while(clock()<CLOCKS_PER_SEC*6/10);}";
    let program = support::compile(Cpp, busy);
    let signal = |name: &str| {
        let pids = descendants(std::process::id());
        let pids = pids.iter().map(u32::to_string);
        Command::new("kill").arg(name).args(pids).status().unwrap();
    };
    let outcome = std::thread::scope(|scope| {
        let run = scope.spawn(|| shared().run(&program, b"", &Limits::default()));
        std::thread::sleep(std::time::Duration::from_millis(300));
        signal("-STOP");
        std::thread::sleep(std::time::Duration::from_millis(3500));
        signal("-CONT");
        run.join().unwrap().unwrap()
    });
    // Idle after 2 s, were the 3.5 s its own.
    assert_eq!(outcome.failure(), None, "{outcome:?}");
    assert!(outcome.wall_s > 3.0, "{outcome:?}");
}
