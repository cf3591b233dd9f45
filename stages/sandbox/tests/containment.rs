//! Hostile programs: what they try fails, and nothing of them is left.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::{os::unix::fs::PermissionsExt, path::Path};

use fs_err as fs;
use sandbox::{
    Exit,
    Language::{Cpp, Python3},
    Limits, Verdict,
};
use support::{compile, run, run_within, sandbox, text};

sandbox::launcher_before_main!();

#[test]
fn every_layer_of_the_minimum_was_proved() {
    let isolation = sandbox().isolation();
    assert!(isolation.missing().is_empty(), "{isolation}");
    assert!(isolation.to_string().starts_with("isolation="));
}

#[test]
fn there_is_no_network() {
    let source = "import socket\nfor family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):\n \
        try:\n  socket.socket(family)\n  print('socket')\n except OSError as e: print(e.errno)\n\
        a,b=socket.socketpair()\na.send(b'x')\nprint(b.recv(1))";
    assert_eq!(text(&run(Python3, source, "")), "1\n1\n1\n1\nb'x'\n");
}

#[test]
fn files_outside_can_be_neither_read_nor_written() {
    let host = tempfile::NamedTempFile::new().unwrap();
    fs::write(host.path(), "secret").unwrap();
    fs::set_permissions(host.path(), std::fs::Permissions::from_mode(0o666)).unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let source = "import sys,os\nfor line in sys.stdin:\n path=line.strip()\n for mode in 'rw':\n  try:\n   \
        open(path,mode).read(1)\n   print('ESCAPED',mode,path)\n  except OSError: pass\n\
        try: os.listdir('/root'); print('ESCAPED /root')\nexcept OSError: pass\n\
        try: os.listdir('/home'); print('ESCAPED /home')\nexcept OSError: pass\nprint('done')";
    let stdin = format!(
        "/etc/shadow\n/etc/passwd\n/etc/hostname\n{}\n{}\n/proc/1/environ\n/proc/1/mem\n/proc/1/fd/3\n{}\n",
        here.display(),
        "/proc/sys/kernel/core_pattern",
        // Readable by its mode: only Landlock, where the kernel has it, keeps it closed.
        if sandbox().isolation().landlock.is_some() {
            "/unlisted"
        } else {
            ""
        }
    );
    assert_eq!(text(&run(Python3, source, &stdin)), "done\n");
    // A path below /tmp is the container's own, whatever the program writes there.
    let writes = format!("open({:?},'w').write('pwned')", host.path());
    run(Python3, &writes, "");
    assert_eq!(fs::read_to_string(host.path()).unwrap(), "secret");
    let places = "import os\nfor d in ('/usr','/usr/bin','/bin','/lib','/etc','/','/dev','/proc','/box'):\n \
        try:\n  open(d+'/x','w'); print('ESCAPED',d)\n except OSError: pass\nprint('done')";
    assert_eq!(text(&run(Python3, places, "")), "done\n");
}

#[test]
fn what_a_run_leaves_the_next_does_not_find() {
    let leaves = "import os\nfor d in ('.','/tmp','/dev/shm'): open(d+'/left','w').write('x')\nos.mkdir('/tmp/d')\n\
        try: os.chmod('.',0)\nexcept OSError: pass\n";
    let looks = "import os\nprint([sorted(os.listdir(d)) for d in ('.','/tmp','/dev/shm')])\nopen('new','w')";
    for _ in 0..4 {
        assert_eq!(run(Python3, leaves, "").failure(), None);
        assert_eq!(text(&run(Python3, looks, "")), "[['main.py'], [], []]\n");
    }
}

#[test]
fn other_processes_can_be_neither_seen_nor_signalled() {
    // Init and the fork server, the latter not to be looked into (see fork_server.rs).
    let source = "import os\nothers = [int(p) for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()]\n\
        print(min(others), len(others), flush=True)\nos.kill(1, 9)\nos.kill(1, 15)\nprint(os.getppid())";
    let outcome = run(Python3, source, "");
    if outcome.exit == Exit::Status(0) {
        let seen = text(&outcome);
        assert_eq!(seen, "1 2\n1\n", "in a user namespace pid 1 ignores it");
    } else {
        assert_eq!(outcome.stdout, b"1 2\n");
    }
    assert_eq!(
        text(&run(Python3, "print(1)", "")),
        "1\n",
        "the container lives on"
    );
}

#[test]
fn killing_everything_kills_only_itself() {
    let source = "#include <csignal>\n#include <unistd.h>\n#include <cstdio>\nint main(){kill(-1,SIGKILL);kill(0,SIGKILL);puts(\"alive\");}";
    assert_eq!(run(Cpp, source, "").failure(), Some(Verdict::RuntimeError));
    assert_eq!(text(&run(Python3, "print(1)", "")), "1\n");
}

#[test]
fn a_fork_bomb_ends_with_its_run() {
    let source = "#include <unistd.h>\nint main(){for(;;)fork();}";
    let limits = Limits {
        cpu_s: 0.5,
        ..Limits::default()
    };
    let outcome = run_within(Cpp, source, "", &limits);
    assert_eq!(outcome.failure(), Some(Verdict::TimeLimit), "{outcome:?}");
    let counts = "import os\nn=0\ntry:\n while True:\n  if os.fork()==0:\n   import time\n   time.sleep(9)\n  n+=1\n\
        except OSError: print(n<70)\nos._exit(0)";
    let outcome = run(Python3, counts, "");
    assert!(outcome.exit == Exit::Status(0), "{outcome:?}");
    assert_eq!(text(&run(Python3, "print(1)", "")), "1\n");
}

#[test]
fn a_daemon_neither_outlives_nor_delays_its_run() {
    let source = "#include <unistd.h>\n#include <cstdio>\nint main(){if(!fork()){setsid();if(!fork()){for(;;)sleep(1);}_exit(0);}puts(\"ok\");}";
    let program = compile(Cpp, source);
    for _ in 0..3 {
        let outcome = sandbox().run(&program, b"", &Limits::default()).unwrap();
        assert_eq!(text(&outcome), "ok\n");
        assert!(!outcome.is_idle);
    }
    let lists = "import os\nprint(len([p for p in os.listdir('/proc') if p.isdigit()]))";
    let processes = run(Python3, lists, "");
    assert_eq!(
        text(&processes),
        "3\n",
        "init, the fork server, the program"
    );
}

#[test]
fn forbidden_calls_fail_and_threads_work() {
    let source = "#include <sys/ptrace.h>\n#include <sched.h>\n#include <unistd.h>\n#include <sys/shm.h>\n#include <sys/personality.h>\n\
        #include <sys/mman.h>\n#include <thread>\n#include <cstdio>\n#include <sys/syscall.h>\nint main(){sched_param p{1};\
        int r=0;r+=ptrace(PTRACE_TRACEME,0,0,0)!=-1;r+=unshare(CLONE_NEWUSER)!=-1;r+=shmget(IPC_PRIVATE,4096,0600)!=-1;\
        r+=sched_setscheduler(0,SCHED_FIFO,&p)!=-1;r+=memfd_create(\"x\",0)!=-1;r+=setuid(0)!=-1;r+=personality(8)!=-1;\
        r+=syscall(SYS_clone,CLONE_NEWPID|17,0,0,0,0)!=-1;r+=syscall(SYS_io_uring_setup,8,0)!=-1;r+=chroot(\"/\")!=-1;\
        std::thread([&]{printf(\"%d\",r);}).join();}";
    assert_eq!(text(&run(Cpp, source, "")), "0");
}

#[test]
fn no_descriptor_and_no_environment_of_the_judge_is_inherited() {
    let source = "import os\nprint(sorted(os.listdir('/proc/self/fd'))[:3], len(os.listdir('/proc/self/fd')))\n\
        print([k for k in os.environ if k.startswith(('CARGO','USER','SSH','RUST'))])";
    let text = text(&run(Python3, source, "")).to_owned();
    assert!(text.starts_with("['0', '1', '2'] 4\n[]"), "{text}");
}

#[test]
fn a_program_cannot_change_itself_or_its_input() {
    let source = "import os\nfor n in (0,):\n for flag in (os.O_WRONLY, os.O_RDWR, os.O_RDWR|os.O_TRUNC):\n  try:\n   \
        fd=os.open('/proc/self/fd/%d'%n, flag)\n   os.write(fd,b'9'); print('ESCAPED')\n  except OSError: pass\nprint(input())";
    assert_eq!(text(&run(Python3, source, "7\n")), "7\n");
    let rewrites = "#include <fcntl.h>\n#include <unistd.h>\n#include <cstdio>\nint main(){int f=open(\"/proc/self/exe\",O_RDWR);\
        puts(f>=0&&write(f,\"x\",1)==1?\"ESCAPED\":\"SAFE\");}";
    assert_eq!(text(&run(Cpp, rewrites, "")), "SAFE\n");
}

#[test]
fn the_compiler_cannot_read_the_host_either() {
    let host = tempfile::NamedTempFile::new().unwrap();
    fs::write(host.path(), "secret").unwrap();
    for path in [
        host.path().to_str().unwrap(),
        "/etc/shadow",
        "/proc/1/environ",
    ] {
        let source = format!("asm(\".incbin \\\"{path}\\\"\");int main(){{}}");
        assert!(
            sandbox().compile(Cpp, source.as_bytes()).unwrap().is_err(),
            "{path}"
        );
    }
}
