//! Each verdict for C++ and Python, decided by what was measured.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use sandbox::{
    Exit,
    Language::{Cpp, Python2, Python3},
    Limits, Stopped, Verdict,
};
use support::{run, run_within, sandbox, text};

sandbox::launcher_before_main!();

const SUM: &str =
    "#include <iostream>\nint main(){long long a,b;std::cin>>a>>b;std::cout<<a+b<<'\\n';}";

#[test]
fn right_programs_end_well() {
    assert_eq!(text(&run(Cpp, SUM, "3 4\n")), "7\n");
    assert_eq!(
        text(&run(
            Python3,
            "print(sum(map(int,input().split())))",
            "3 4\n"
        )),
        "7\n"
    );
}

#[test]
fn compile_errors_keep_the_compilers_words() {
    for (language, source, word) in [
        (Cpp, "int main(){int a=;}", "expected"),
        (Cpp, "", "main"),
        (Python3, "print('x'\nfor\n", "SyntaxError"),
        (Python3, "if 1:\nprint(1)\n", "IndentationError"),
    ] {
        let rejected = sandbox()
            .compile(language, source.as_bytes())
            .unwrap()
            .unwrap_err();
        assert!(rejected.message.contains(word), "{source:?}: {rejected}");
    }
}

#[test]
fn a_language_without_runner_is_an_error_of_the_sandbox() {
    let error = sandbox().compile(Python2, b"print 1").unwrap_err();
    assert!(
        matches!(
            error,
            sandbox::Error::Toolchain {
                language: Python2,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn exit_status_and_signals_are_runtime_errors() {
    let exits = run(Cpp, "int main(){return 3;}", "");
    assert_eq!(
        (exits.exit, exits.failure()),
        (Exit::Status(3), Some(Verdict::RuntimeError))
    );
    let crashes = run(Cpp, "int main(){__builtin_trap();}", "");
    assert_eq!(
        (crashes.exit, crashes.failure()),
        (Exit::Signal(libc::SIGILL), Some(Verdict::RuntimeError))
    );
    let raises = run(Python3, "1/0", "");
    assert_eq!(raises.failure(), Some(Verdict::RuntimeError));
    assert!(String::from_utf8_lossy(&raises.stderr_head).contains("ZeroDivisionError"));
    for signal in ["SIGTERM", "SIGKILL"] {
        let source = format!("#include <csignal>\nint main(){{raise({signal});}}");
        assert_eq!(
            run(Cpp, &source, "").failure(),
            Some(Verdict::RuntimeError),
            "{signal} must kill"
        );
    }
}

#[test]
fn python_keeps_exit_and_its_status() {
    assert_eq!(text(&run(Python3, "print(1)\nexit()\nprint(2)", "")), "1\n");
    assert_eq!(text(&run(Python3, "print(1)\nquit()", "")), "1\n");
    assert_eq!(run(Python3, "exit(4)", "").exit, Exit::Status(4));
    assert_eq!(
        run(Python3, "import sys\nsys.exit('no')", "").failure(),
        Some(Verdict::RuntimeError)
    );
}

#[test]
fn python_hashes_alike_and_prints_long_integers() {
    let hash = "print(hash('a'), {'x','y','z'})";
    assert_eq!(text(&run(Python3, hash, "")), text(&run(Python3, hash, "")));
    assert_eq!(
        text(&run(Python3, "print(len(str(10**5000)))", "")),
        "5001\n"
    );
}

#[test]
fn cpu_time_over_the_limit_is_the_time_limit() {
    let limits = Limits {
        cpu_s: 0.3,
        ..Limits::default()
    };
    for (language, source) in [
        (Cpp, "int main(){for(volatile int i=0;;++i);}"),
        (Python3, "while True: pass"),
    ] {
        let outcome = run_within(language, source, "", &limits);
        assert_eq!(outcome.failure(), Some(Verdict::TimeLimit), "{outcome:?}");
        assert!(outcome.is_over_time && outcome.cpu_s > 0.3, "{outcome:?}");
        assert_eq!(outcome.stopped, Some(Stopped::Cpu));
    }
}

#[test]
fn cpu_time_of_children_counts() {
    let source = "#include <sys/wait.h>\n#include <unistd.h>\n#include <ctime>\nint main(){\
        for(int i=0;i<8;++i){if(!fork()){while(clock()<CLOCKS_PER_SEC/10);_exit(0);}wait(0);}}";
    let outcome = run_within(
        Cpp,
        source,
        "",
        &Limits {
            cpu_s: 0.4,
            ..Limits::default()
        },
    );
    assert!(outcome.is_over_time, "{outcome:?}");
}

#[test]
fn a_sleeper_is_ended_as_idle_not_as_over_time() {
    let outcome = run(Cpp, "#include <unistd.h>\nint main(){for(;;)pause();}", "");
    assert!(outcome.is_idle && !outcome.is_over_time, "{outcome:?}");
    assert_eq!(
        (outcome.stopped, outcome.failure()),
        (Some(Stopped::Idle), Some(Verdict::TimeLimit))
    );
    let short = run(Python3, "import time\ntime.sleep(0.2)\nprint(1)", "");
    assert_eq!(text(&short), "1\n");
}

#[test]
fn a_starved_program_is_not_idle() {
    // Twelve threads of its own keep the processors from the first one, which wants little.
    let source = "#include <thread>\n#include <vector>\n#include <ctime>\nint main(){std::vector<std::thread> all;\
        for(int i=0;i<12;++i)all.emplace_back([]{timespec t;do clock_gettime(CLOCK_THREAD_CPUTIME_ID,&t);\
        while(t.tv_nsec<300000000&&t.tv_sec==0);});for(auto&t:all)t.join();}";
    let outcome = run_within(
        Cpp,
        source,
        "",
        &Limits {
            cpu_s: 8.0,
            ..Limits::default()
        },
    );
    assert_eq!(outcome.failure(), None, "{outcome:?}");
    assert!(outcome.cpu_s > 3.0);
}

#[test]
fn memory_over_the_limit_never_passes() {
    let touched = "#include <cstdlib>\n#include <cstring>\nint main(){for(;;){char*p=(char*)malloc(1<<20);if(!p)abort();memset(p,1,1<<20);}}";
    for (language, source) in [
        (Cpp, touched),
        (Python3, "a=[]\nwhile True: a.append(bytearray(1<<20))"),
    ] {
        let outcome = run(language, source, "");
        let verdict = outcome.failure();
        assert!(
            matches!(verdict, Some(Verdict::MemoryLimit | Verdict::RuntimeError)),
            "{outcome:?}"
        );
        assert!(outcome.memory_bytes > 100 << 20, "{outcome:?}");
    }
    let outcome = run(Cpp, touched, "");
    assert_eq!(
        outcome.failure(),
        Some(Verdict::MemoryLimit),
        "the address space ends above the limit"
    );
}

#[test]
fn memory_of_children_together_is_bounded() {
    let source = "#include <unistd.h>\n#include <cstdlib>\n#include <cstring>\n#include <sys/wait.h>\nint main(){\
        for(int i=0;i<6;++i)if(!fork()){char*volatile p=(char*)malloc(100<<20);memset(p,1,100<<20);sleep(1);_exit(*p==0);}while(wait(0)>0);}";
    let outcome = run(Cpp, source, "");
    assert_eq!(outcome.failure(), Some(Verdict::MemoryLimit), "{outcome:?}");
}

#[test]
fn memory_below_the_limit_passes() {
    let source = "#include <vector>\n#include <cstdio>\nint main(){std::vector<char> v(200<<20,1);printf(\"%d\",v[12345]);}";
    let outcome = run(Cpp, source, "");
    assert_eq!(text(&outcome), "1");
    assert!(
        (200 << 20..256 << 20).contains(&outcome.memory_bytes),
        "{outcome:?}"
    );
}

#[test]
fn the_stack_may_take_the_whole_memory() {
    let deep = "#include <cstdio>\nint f(int n){volatile char pad[64];pad[0]=n;return n?f(n-1)+pad[0]%2:0;}\
        int main(){printf(\"%d\",f(1000000)>0);}";
    assert_eq!(text(&run(Cpp, deep, "")), "1");
    let endless = "int f(int n){volatile char pad[64];pad[0]=n;return f(n+1)+pad[0];}int main(){return f(0);}";
    assert!(run(Cpp, endless, "").failure().is_some());
    let threaded = "import sys,threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(128<<20)\n\
        def f(n): return n and 1+f(n-1)\nt=threading.Thread(target=lambda:print(f(50000)))\nt.start()\nt.join()";
    assert_eq!(text(&run(Python3, threaded, "")), "50000\n");
}

#[test]
fn output_beyond_the_limit_is_the_output_limit() {
    let limits = Limits {
        output_bytes: 1 << 20,
        cpu_s: 5.0,
        ..Limits::default()
    };
    for (language, source) in [
        (
            Cpp,
            "#include <cstdio>\nint main(){for(;;)puts(\"flood\");}",
        ),
        (Python3, "while True: print('flood')"),
    ] {
        let outcome = run_within(language, source, "", &limits);
        assert_eq!(outcome.failure(), Some(Verdict::OutputLimit), "{outcome:?}");
        assert_eq!(outcome.stdout.len(), 1 << 20);
    }
    let to_stderr = "#include <cstdio>\nint main(){for(;;)fputs(\"flood\",stderr);}";
    assert_eq!(
        run_within(Cpp, to_stderr, "", &limits).failure(),
        Some(Verdict::OutputLimit)
    );
}

#[test]
fn stdin_need_not_be_read_and_stdout_may_be_closed() {
    let long = "x\n".repeat(1 << 20);
    assert_eq!(
        text(&run(
            Cpp,
            "#include <cstdio>\nint main(){getchar();puts(\"ok\");}",
            &long
        )),
        "ok\n"
    );
    assert_eq!(
        text(&run(
            Cpp,
            "#include <cstdio>\nint main(){fclose(stdin);puts(\"ok\");}",
            &long
        )),
        "ok\n"
    );
    let closes = "#include <cstdio>\nint main(){puts(\"ok\");fclose(stdout);return 0;}";
    assert_eq!(text(&run(Cpp, closes, "")), "ok\n");
    let then_crashes =
        "#include <cstdio>\nint main(){puts(\"ok\");fclose(stdout);__builtin_trap();}";
    assert_eq!(
        run(Cpp, then_crashes, "").failure(),
        Some(Verdict::RuntimeError)
    );
}

#[test]
fn identical_sources_are_compiled_once_and_run_from_several_threads() {
    let compiled: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|number| {
                scope.spawn(move || {
                    let program = support::compile(Cpp, SUM);
                    let input = format!("{number} 10\n");
                    let outcome = sandbox()
                        .run(&program, input.as_bytes(), &Limits::default())
                        .unwrap();
                    (program.digest(), String::from_utf8(outcome.stdout).unwrap())
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for (number, (digest, output)) in compiled.iter().enumerate() {
        assert_eq!(*digest, compiled[0].0);
        assert_eq!(*output, format!("{}\n", number + 10));
    }
}
