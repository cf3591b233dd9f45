//! A forked Python program is as good as one started cold, and does not harm the next.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::{
    io::Write,
    process::{Command, Stdio},
};

use sandbox::{Exit, Language::Python3, Limits, Stopped};
use support::{run, run_within, text};

sandbox::launcher_before_main!();

/// What a cold interpreter of this machine makes of a program: output and exit status.
fn cold(source: &str, stdin: &str) -> (String, i32) {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("main.py"), source).unwrap();
    let mut child = Command::new("/usr/bin/python3")
        .args(["-s", "-B", "main.py"])
        .current_dir(folder.path())
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .env("PYTHONHASHSEED", "0")
        .env("PYTHONINTMAXSTRDIGITS", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(stdin.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    (
        String::from_utf8(output.stdout).unwrap(),
        output.status.code().unwrap(),
    )
}

#[test]
fn programs_behave_as_under_a_cold_interpreter() {
    if !std::path::Path::new("/usr/bin/python3").exists() {
        return;
    }
    for source in [
        "print(sum(map(int, input().split())))\nprint(input())",
        "import sys\nfor line in sys.stdin: sys.stdout.write(line[::-1])",
        "print(open(0).read().upper(), end='')",
        "import os\nprint(os.read(0, 3)); os.write(1, b'raw\\n')",
        "print(1); exit()\nprint(2)",
        "import sys\nprint(1); sys.exit(7)",
        "quit(3)",
        "print('before'); 1 / 0",
        "print('before')\nraise SystemExit('words')",
        "import os\nprint('lost'); os._exit(0)",
        "print(__name__, __file__.split('/')[-1], __doc__, __package__, __spec__)",
        "import sys\nprint(sys.argv, len(sys.path) > 1, sys.flags.no_user_site)",
        "import sys\nprint(sys.stdin.encoding, sys.stdin.errors, sys.stdout.errors, sys.stderr.errors)",
        "import sys\nprint(sys.stdin.name, sys.stdout.mode, sys.stdout.line_buffering)",
        "print(hash('a'), hash((1, 'b')), {'x', 'y', 'z'})",
        "import atexit\natexit.register(print, 'at exit')\nprint('first')",
        "class A:\n def __del__(self): print('deleted')\na = A()\nprint('end')",
        "f = open('/dev/stdout', 'w')\nf.write('not flushed')",
        "import threading\nt = threading.Thread(target=lambda: print('thread'))\nt.start()",
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 27)\n\
         def f(n): return 0 if n == 0 else 1 + f(n - 1)\n\
         t = threading.Thread(target=lambda: print(f(20000)))\nt.start(); t.join()",
        "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nprint(f(15000))",
        "def f(): return f()\ntry:\n f()\nexcept RecursionError: print('deep')",
        "global_name = 5\ndef f(): return global_name\nimport __main__\nprint(f(), __main__.global_name)",
        "from collections import *\nfrom math import *\nfrom heapq import *\nfrom itertools import *\nprint(Counter('aab'), gcd(6, 4))",
        "import multiprocessing, os\npid = os.fork()\nif pid == 0:\n print('child', flush=True)\n os._exit(0)\nos.waitpid(pid, 0)\nprint('parent')",
        "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))).__module__)",
        "print('ä€😀'.encode())\nprint(input())",
        "import sys\nprint(sys.getrecursionlimit(), sys.stdin.seekable(), sys.stdout.isatty())",
        "print(10 ** 5000 % 7, len(str(10 ** 5000)))",
        "import resource, signal\nprint(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGPIPE))",
        "x = 1\nimport sys\nprint(sorted(k for k in globals()))",
    ] {
        let stdin = "3 4\nzwölf\n";
        let (wanted, status) = cold(source, stdin);
        let found = run(Python3, source, stdin);
        let seen = (String::from_utf8(found.stdout.clone()).unwrap(), found.exit);
        // A pipe cannot be sought in, the sandbox's input file can.
        let wanted = wanted.replace("1000 False", "1000 True");
        assert_eq!(
            seen,
            (wanted, Exit::Status(status)),
            "{source}\n{}",
            String::from_utf8_lossy(&found.stderr_head)
        );
    }
}

#[test]
fn limits_are_those_of_the_run() {
    let short = Limits {
        cpu_s: 0.3,
        ..Limits::default()
    };
    let spun = run_within(Python3, "while True: pass", "", &short);
    assert_eq!(spun.stopped, Some(Stopped::Cpu));
    assert!(spun.is_over_time && spun.cpu_s < 2.0, "{spun:?}");
    let small = Limits {
        memory_bytes: 64 << 20,
        ..Limits::default()
    };
    let eaten = run_within(Python3, "x = bytearray(1 << 30)", "", &small);
    assert_eq!(eaten.exit, Exit::Status(1));
    let written = Limits {
        output_bytes: 1 << 20,
        ..Limits::default()
    };
    let flood = run_within(Python3, "while True: print('x' * 1000)", "", &written);
    assert!(flood.is_over_output, "{flood:?}");
    assert_eq!(text(&run(Python3, "print('next')", "")), "next\n");
}

#[test]
fn what_a_program_does_to_others_does_not_reach_the_next() {
    // Every run goes to either of two workers: enough rounds to meet each of them again.
    for source in [
        "import os\nif os.fork() == 0:\n import time\n time.sleep(100)",
        "import os, signal\nos.kill(-1, signal.SIGKILL)",
        "import os, signal\nfor pid in range(2, 400):\n try:\n  if pid != os.getpid(): os.kill(pid, signal.SIGSTOP)\n except OSError: pass",
        "import os\nfor pid in range(2, 400):\n for what in (lambda: os.setpriority(0, pid, 19), lambda: os.sched_setaffinity(pid, {0})):\n  try: what()\n  except OSError: pass",
        "import builtins, sys\nbuiltins.print = None\nsys.stdout = None\nsys.modules['math'] = None",
        "import os, sys\nopen('left', 'w').write('x' * 100000)\nos.setsid if True else 0",
        "import gc, sys\nfor thing in gc.get_objects():\n try: thing.close()\n except Exception: pass",
        "import os\nfor fd in range(3, 64):\n try: os.write(fd, b'7')\n except OSError: pass",
    ] {
        for _ in 0..3 {
            run(Python3, source, "");
            let next = "import os, math\nprint(os.listdir('.'), os.getpriority(0, 0), math.gcd(4, 6), len(os.sched_getaffinity(0)) == os.cpu_count())";
            assert_eq!(
                text(&run(Python3, next, "")),
                "['main.py'] 0 2 True\n",
                "after {source}"
            );
        }
    }
}

#[test]
fn the_server_cannot_be_looked_into() {
    let source = "import os\nfound = []\nfor pid in os.listdir('/proc'):\n if pid.isdigit() and int(pid) not in (1, os.getpid()):\n  for name in ('mem', 'environ', 'maps', 'fd/0'):\n   try:\n    if open(f'/proc/{pid}/{name}', 'rb').read(1): found.append((pid, name))\n   except OSError: pass\nprint(found)";
    assert_eq!(text(&run(Python3, source, "")), "[]\n");
}

#[test]
fn random_numbers_are_new_in_every_run() {
    let source = "import random\nprint(random.random())";
    let (first, second) = (run(Python3, source, ""), run(Python3, source, ""));
    assert_ne!(text(&first), text(&second));
}
