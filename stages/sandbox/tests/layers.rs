//! Other ways of running: without namespaces, by commands, with files, alone; and what is spared.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use fs_err as fs;
use sandbox::{
    CommandLanguage, Errand, Exit,
    Language::{self, Cpp, Python3},
    Limits, MemoryMeasure, Options, Outcome, Sandbox, Verdict,
};
use support::{compile, run, sandbox as shared, text};

sandbox::launcher_before_main!();

fn within(sandbox: &Sandbox, language: Language, source: &str, stdin: &str) -> Outcome {
    let program = sandbox
        .compile(language, source.as_bytes())
        .unwrap()
        .unwrap();
    sandbox
        .run(&program, stdin.as_bytes(), &Limits::default())
        .unwrap()
}

#[test]
fn without_namespaces_landlock_and_seccomp_stand_in() {
    let options = Options {
        workers: 1,
        use_namespaces: false,
        unsafe_mode: true,
        ..Options::default()
    };
    let sandbox = Sandbox::new(&options).unwrap();
    let isolation = sandbox.isolation();
    assert!(
        !isolation.pid_namespace && !isolation.mount_namespace,
        "{isolation}"
    );
    // Signals are kept in by Landlock from version 6 on.
    if shared()
        .isolation()
        .landlock
        .is_none_or(|version| version < 6)
    {
        return;
    }
    assert!(isolation.scoped, "{isolation}");
    assert!(isolation.missing().is_empty(), "{isolation}");
    assert!(isolation.to_string().contains(",scoped"), "{isolation}");
    let host = tempfile::NamedTempFile::new().unwrap();
    fs::write(host.path(), "secret").unwrap();
    let source = "import os,sys,socket\n\
        def tries(f,*a):\n try:\n  f(*a); print('ESCAPED',f,a)\n except (OSError,PermissionError): pass\n\
        path=input()\n\
        for p in (path,'/etc/passwd','/proc/1/environ','/proc/self/environ'): tries(open,p)\n\
        for p in (path,'/tmp/escaped','/dev/shm/escaped','/usr/escaped'): tries(open,p,'w')\n\
        tries(os.kill,os.getppid(),0); tries(os.kill,1,0); tries(os.listdir,'/proc'); tries(os.listdir,'/tmp')\n\
        for family in (socket.AF_INET,socket.AF_UNIX): tries(socket.socket,family)\n\
        open('own','w').write('x'); print(open('own').read())";
    let path = host.path().to_str().unwrap();
    assert_eq!(text(&within(&sandbox, Python3, source, path)), "x\n");
    assert_eq!(fs::read_to_string(host.path()).unwrap(), "secret");
    let kills =
        "#include <csignal>\n#include <cstdio>\nint main(){kill(-1,SIGKILL);puts(\"alive\");}";
    let killed = within(&sandbox, Cpp, kills, "");
    assert!(
        killed.failure() == Some(Verdict::RuntimeError) || killed.stdout == b"alive\n",
        "{killed:?}"
    );
    let daemon = "#include <unistd.h>\n#include <cstdio>\nint main(){if(!fork()){setsid();if(!fork())for(;;)sleep(1);_exit(0);}puts(\"ok\");}";
    assert_eq!(text(&within(&sandbox, Cpp, daemon, "")), "ok\n");
    let looks = "import os\nprint(sorted(os.listdir('.')))";
    assert_eq!(text(&within(&sandbox, Python3, looks, "")), "['main.py']\n");
    let loops = "int main(){for(volatile int i=0;;++i);}";
    assert!(within(&sandbox, Cpp, loops, "").is_over_time);
}

#[test]
fn the_measure_of_memory_is_that_of_the_set() {
    let source = "#include <vector>\n#include <cstdio>\nint main(){std::vector<char> v(100<<20,1);printf(\"%d\",v[5]);}";
    let outcome = run(Cpp, source, "");
    assert_eq!(
        outcome.memory_measure,
        shared().isolation().memory_measure()
    );
    assert!(
        (100 << 20..120 << 20).contains(&outcome.memory_bytes),
        "{outcome:?}"
    );
    // What a program writes to its outputs is not its memory.
    let writes = "#include <cstdio>\n#include <cstring>\nstatic char b[1<<20];int main(){memset(b,'x',sizeof b);\
        for(int i=0;i<50;++i)fwrite(b,1,sizeof b,stdout);}";
    let outcome = run(Cpp, writes, "");
    assert_eq!(outcome.failure(), None);
    assert!(
        outcome.memory_bytes < 16 << 20,
        "{} bytes",
        outcome.memory_bytes
    );
    if outcome.memory_measure == MemoryMeasure::ControlGroup {
        // Too short for sampling: 300 MB in two processes at once.
        let pair = "#include <unistd.h>\n#include <cstdlib>\n#include <cstring>\n#include <sys/wait.h>\nint main(){int p[2];char c;if(pipe(p))return 1;\
            for(int i=0;i<2;++i)if(!fork()){char*volatile m=(char*)malloc(170<<20);memset(m,1,170<<20);close(p[1]);read(p[0],&c,1);_exit(m[9]==0);}\
            close(p[1]);while(wait(0)>0);}";
        assert_eq!(run(Cpp, pair, "").failure(), Some(Verdict::MemoryLimit));
    }
}

#[test]
fn an_errand_has_arguments_files_and_a_word_to_leave() {
    let source = "import sys\nprint(open(sys.argv[1]).read(), sys.stdin.read(), sys.argv[2:])\n\
        open('word','w').write('said')\nsys.exit(42)";
    let program = compile(Python3, source);
    let errand = Errand {
        arguments: &["given", "./", "flag"],
        files: &[("given", b"content")],
        collect: "word",
    };
    let (outcome, word) = shared()
        .run_errand(&program, b"input", &Limits::default(), &errand)
        .unwrap();
    assert_eq!(outcome.exit, Exit::Status(42));
    assert_eq!(outcome.stdout, b"content input ['./', 'flag']\n");
    assert_eq!(word.as_deref(), Some(&b"said"[..]));
    let again = shared().run(&program, b"", &Limits::default()).unwrap();
    assert_eq!(
        again.exit,
        Exit::Status(1),
        "the files of the errand are gone"
    );
}

#[test]
fn running_alone_gives_what_running_together_does_and_blocks_nobody_for_good() {
    let program = compile(Cpp, "#include <cstdio>\nint main(){puts(\"ok\");}");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let program = &program;
            scope.spawn(move || {
                for _ in 0..20 {
                    let outcome = if number % 2 == 0 {
                        shared().run_alone(program, b"", &Limits::default())
                    } else {
                        shared().run(program, b"", &Limits::default())
                    };
                    assert_eq!(text(&outcome.unwrap()), "ok\n");
                }
            });
        }
    });
}

#[test]
fn sources_that_are_alike_are_compiled_once() {
    let options = Options {
        workers: 1,
        ..Options::default()
    };
    let sandbox = Sandbox::new(&options).unwrap();
    let digest = |source: &str| {
        let compiled = sandbox.compile(Cpp, source.as_bytes()).unwrap();
        compiled.unwrap().digest()
    };
    let plain = "#include <cstdio>\nint main() { int a = 1; printf(\"%d\", a); }";
    let first = digest(plain);
    assert_eq!(digest(plain), first);
    let commented =
        "#include <cstdio>\n// a comment\nint main() {\n  int a = 1;  printf(\"%d\", a);\n}";
    assert_eq!(digest(&commented.replace('\n', "\n\n")), first);
    let renamed = "#include <cstdio>\nint main() { int b = 1; printf(\"%d\", b); }";
    assert_eq!(digest(renamed), first);
    assert_ne!(digest(&plain.replace("= 1", "= 2")), first);
    let counts = sandbox.compile_counts();
    assert_eq!(
        (counts.asked, counts.same_bytes, counts.same_assembly),
        (5, 1, 1),
        "{counts:?}"
    );
    assert_eq!(counts.same_tokens, 1);
    // Errors have words of their own: their lines differ.
    let wrong = |source: &str| {
        sandbox
            .compile(Cpp, source.as_bytes())
            .unwrap()
            .unwrap_err()
    };
    assert!(wrong("int main() { x; }").message.contains("main.cpp:1"));
    assert!(wrong("\nint main() { x; }").message.contains("main.cpp:2"));
}

#[test]
fn a_language_may_be_two_commands() {
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let script = CommandLanguage {
        name: "sh".into(),
        source: "main.sh".into(),
        run: words("/bin/sh {program}"),
        address_slack_bytes: 64 << 20,
        ..CommandLanguage::default()
    };
    let compiled = CommandLanguage {
        name: "c-by-hand".into(),
        source: "main.c".into(),
        compile: words("gcc -o main {source}"),
        address_slack_bytes: 64 << 20,
        ..CommandLanguage::default()
    };
    let missing = CommandLanguage {
        name: "none".into(),
        source: "main.x".into(),
        run: words("no-such-interpreter {program}"),
        ..CommandLanguage::default()
    };
    let sandbox = Sandbox::new(&Options {
        workers: 1,
        languages: vec![script, compiled, missing],
        ..Options::default()
    })
    .unwrap();
    let run = |place, source, stdin| within(&sandbox, Language::Command(place), source, stdin);
    assert_eq!(text(&run(0, "read a b; echo $((a+b))", "3 4\n")), "7\n");
    let sum = "#include <stdio.h>\nint main(){int a,b;if(scanf(\"%d%d\",&a,&b)==2)printf(\"%d\",a+b);return 0;}";
    assert_eq!(text(&run(1, sum, "3 4")), "7");
    let rejected = sandbox.compile(Language::Command(1), b"int main(").unwrap();
    assert!(rejected.unwrap_err().message.contains("main.c"));
    let error = sandbox.compile(Language::Command(2), b"").unwrap_err();
    assert!(error.to_string().contains("no-such-interpreter"), "{error}");
    let error = sandbox.compile(Language::Command(9), b"").unwrap_err();
    assert!(matches!(error, sandbox::Error::Toolchain { .. }), "{error}");
}

#[test]
fn presets_run_where_their_tools_are() {
    let cases = [
        (
            "java",
            "/usr/bin/javac",
            "import java.util.*;\npublic class Sum { public static void main(String[] a) { Scanner s = new Scanner(System.in); System.out.println(s.nextInt() + s.nextInt()); } }",
        ),
        (
            "cpp20",
            "/usr/bin/g++",
            "#include <bits/stdc++.h>\nint main(){int a,b;std::cin>>a>>b;auto c=(a<=>b);std::cout<<a+b<<(c<0?\"\":\"!\");}",
        ),
        (
            "pypy3",
            "/usr/bin/pypy3",
            "print(sum(map(int, input().split())))",
        ),
    ];
    for (name, tool, source) in cases {
        if !std::path::Path::new(tool).exists() {
            continue;
        }
        let sandbox = Sandbox::new(&Options {
            workers: 1,
            languages: vec![CommandLanguage::preset(name).unwrap()],
            ..Options::default()
        })
        .unwrap();
        let outcome = within(&sandbox, Language::Command(0), source, "3 4\n");
        assert_eq!(text(&outcome).trim(), "7", "{name}");
    }
}

#[test]
fn every_layer_has_a_word_for_people() {
    let layers = shared().isolation().layers();
    assert_eq!(layers.len(), 11);
    assert!(layers.iter().all(|(_, _, why)| !why.is_empty()));
    let held = |wanted: &str| {
        layers
            .iter()
            .any(|(name, holds, _)| *name == wanted && *holds)
    };
    assert!(held("seccomp") && held("rlimits"));
}
