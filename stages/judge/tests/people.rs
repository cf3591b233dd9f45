//! Problem packages, checkers, languages of the recipe, the order of tests, and the suite of cases.
#![allow(clippy::unwrap_used, clippy::unnecessary_wraps)]

mod support;

use corpus::schema::Verdict;
use judge::{
    cases::{self, CaseReport},
    package::{Problem, Report, Settings},
    rules::{How, Mode},
};
use std::{collections::BTreeMap, path::Path};
use support::{Bench, generation, problem};

sandbox::launcher_before_main!();

const HOW: &str = "how = { workers = 2 }";

fn go_on() -> anyhow::Result<()> {
    Ok(())
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
}

/// Any number above the one that is given: a problem with many right answers.
const ABOVE_VALIDATOR: &str = "import sys\ngiven = int(open(sys.argv[1]).read())\n\
    try:\n    right = int(sys.stdin.read()) > given\nexcept ValueError:\n    right = False\n\
    open(sys.argv[3] + 'judgemessage.txt', 'w').write('not above %d' % given)\n\
    sys.exit(42 if right else 43)\n";

fn package() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            (
                "problem.yaml",
                "name: Above\nvalidation: custom\nlimits:\n  memory: 256\n",
            ),
            ("output_validators/above/validate.py", ABOVE_VALIDATOR),
            ("data/sample/1.in", "1\n"),
            ("data/sample/1.ans", "2\n"),
            ("data/secret/a/2.in", "10\n"),
            ("data/secret/a/2.ans", "11\n"),
            ("data/secret/a/3.in", "-7\n"),
            ("data/secret/a/3.ans", "0\n"),
            ("submissions/accepted/plus.py", "print(int(input()) + 5)\n"),
            (
                "submissions/accepted/two_files/main.cpp",
                "#include \"more.h\"\nint main(){int a;std::cin>>a;std::cout<<more(a);}",
            ),
            (
                "submissions/accepted/two_files/more.h",
                "#include <iostream>\ninline int more(int a){return a+1;}",
            ),
            ("submissions/wrong_answer/constant.py", "print(9)\n"),
            (
                "submissions/run_time_error/raises.py",
                "print(int(input()) // 0)\n",
            ),
            (
                "submissions/time_limit_exceeded/loops.cpp",
                "int main(){for(volatile int i=0;;++i);}",
            ),
            (
                "submissions/accepted/old.py",
                "#!/usr/bin/python2\nprint 1\n",
            ),
        ],
    );
    folder
}

fn settings() -> Settings {
    Settings {
        how: How {
            workers: 2,
            ..How::default()
        },
        ..Settings::default()
    }
}

fn verdicts(report: &Report) -> BTreeMap<String, (&'static str, Option<bool>)> {
    report
        .programs
        .iter()
        .map(|program| {
            let name = program
                .path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .into_owned();
            let verdict = program.verdict.map_or("-", sandbox::Verdict::code);
            (name, (verdict, program.is_as_expected()))
        })
        .collect()
}

#[test]
fn a_package_is_judged_by_its_own_validator() {
    let folder = package();
    let problem = Problem::read(folder.path().to_str().unwrap()).unwrap();
    let report = problem.judge(&[], &settings(), &go_on, &|_| {}).unwrap();
    assert_eq!(report.tests, 3);
    assert!(
        report.time_limit_s >= 1.0,
        "from the accepted ones: {}",
        report.time_limit_s
    );
    assert_eq!(report.memory_limit_bytes, 256 << 20);
    let found = verdicts(&report);
    assert_eq!(found["plus.py"], ("AC", Some(true)));
    assert_eq!(found["two_files"], ("AC", Some(true)));
    assert_eq!(found["constant.py"], ("WA", Some(true)));
    assert_eq!(found["raises.py"], ("RE", Some(true)));
    assert_eq!(found["loops.cpp"], ("TLE", Some(true)));
    assert_eq!(found["old.py"], ("-", None), "Python 2 is not run");
    let constant = report
        .programs
        .iter()
        .find(|program| program.path.ends_with("constant.py"));
    let words = constant.and_then(|program| program.words.clone()).unwrap();
    assert_eq!(
        words, "not above 10",
        "the validator's word on test secret/a/2"
    );
}

#[test]
fn a_package_that_lies_is_found_out() {
    let folder = package();
    write(
        folder.path(),
        &[
            ("submissions/accepted/wrong.py", "print(0)\n"),
            ("submissions/wrong_answer/right.py", "print(10**6)\n"),
        ],
    );
    let problem = Problem::read(folder.path().to_str().unwrap()).unwrap();
    let given = Settings {
        time_limit_s: Some(2.0),
        ..settings()
    };
    let report = problem.judge(&[], &given, &go_on, &|_| {}).unwrap();
    assert!((report.time_limit_s - 2.0).abs() < 1e-9);
    let found = verdicts(&report);
    assert_eq!(found["wrong.py"], ("WA", Some(false)));
    assert_eq!(found["right.py"], ("AC", Some(false)));
}

#[test]
fn ones_own_program_on_a_folder_of_tests() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("t/1.in", "3 4\n"),
            ("t/1.out", "7.0000001\n"),
            ("t/2.in", "1 1\n"),
            ("t/2.ans", "5\n"),
            ("t/3.in", "0 0\n"),
            ("t/3.ans", "0\n"),
            (
                "sum.c",
                "#include <stdio.h>\nint main(){int a,b;if(scanf(\"%d%d\",&a,&b)==2)printf(\"%d\",a+b);}",
            ),
            ("broken.cpp", "int main( {"),
        ],
    );
    let place = folder.path().join("t");
    let problem = Problem::read(place.to_str().unwrap()).unwrap();
    let programs = ["sum.c", "broken.cpp"].map(|name| folder.path().join(name));
    let all = Settings {
        all_tests: true,
        ..settings()
    };
    let report = problem.judge(&programs, &all, &go_on, &|_| {}).unwrap();
    let found = verdicts(&report);
    assert_eq!(found["broken.cpp"].0, "CE");
    assert_eq!(found["sum.c"], ("WA", Some(false)));
    let rows = |report: &Report| -> Vec<(String, &'static str)> {
        let sum = report
            .programs
            .iter()
            .find(|program| program.path.ends_with("sum.c"));
        let tests = &sum.unwrap().tests;
        tests
            .iter()
            .map(|test| (test.name.clone(), test.verdict.code()))
            .collect()
    };
    let wanted =
        [("1", "AC"), ("2", "WA"), ("3", "AC")].map(|(name, verdict)| (name.to_owned(), verdict));
    assert_eq!(rows(&report), wanted);
    let strict = Settings {
        compare: Some(Mode::Strict),
        ..settings()
    };
    let report = problem
        .judge(&programs[..1], &strict, &go_on, &|_| {})
        .unwrap();
    assert_eq!(
        rows(&report),
        [("1".to_owned(), "WA")],
        "stops at the first failure"
    );
}

#[test]
fn bad_problems_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    let error = |place: &str| format!("{:#}", Problem::read(place).unwrap_err());
    assert!(error(place).contains("has no tests"), "{}", error(place));
    assert!(error("/no/such").contains("neither a problem package"));
    fs_err::write(folder.path().join("1.in"), "x").unwrap();
    fs_err::write(folder.path().join("1.ans"), b"\xff\xfe").unwrap();
    assert!(
        error(place).contains("1.ans is not UTF-8"),
        "{}",
        error(place)
    );
    fs_err::write(folder.path().join("1.ans"), "x").unwrap();
    let zero = Settings {
        time_limit_s: Some(0.0),
        ..settings()
    };
    let program = folder.path().join("a.py");
    fs_err::write(&program, "print(1)").unwrap();
    let problem = Problem::read(place).unwrap();
    let refused = problem
        .judge(&[program], &zero, &go_on, &|_| {})
        .unwrap_err();
    assert!(refused.to_string().contains("above 0"), "{refused}");
}

#[test]
fn the_stage_asks_checkers_runs_languages_of_the_recipe_and_orders_tests() {
    let bench = Bench::new();
    let problems = bench.table(
        "problems",
        vec![
            problem(
                "k/above",
                &[("1\n", "2\n")],
                &[("10\n", "11\n"), ("3\n", "4\n")],
            ),
            problem("k/echo", &[("1\n", "1\n")], &[("2\n", "2\n")]),
        ],
    );
    let checkers = tempfile::tempdir().unwrap();
    write(checkers.path(), &[("k/above.py", ABOVE_VALIDATOR)]);
    let generations = bench.table(
        "generations",
        vec![
            generation("k/above", 0, "python3", "print(int(input()) + 7)\n"),
            generation("k/above", 1, "python3", "print(9)\n"),
            generation("k/above", 2, "sh", "read a; echo $((a+1))\n"),
            generation("k/echo", 0, "sh", "cat\n"),
            generation("k/echo", 1, "python3", "print(int(input()) + 7)\n"),
        ],
    );
    let recipe = |settings: &str| {
        format!(
            "[judge]\ninputs = {{ problems = \"{problems}\", generations = \"{generations}\", \
             checkers = \"file:{}\" }}\n{settings}\n{HOW}\n[judge.rules.languages.sh]\n\
             source = \"main.sh\"\nrun = [\"/bin/sh\", \"{{program}}\"]\naddress_slack_bytes = 67108864\n",
            checkers.path().display()
        )
    };
    let mut rows = Vec::new();
    for settings in ["", "rules.test_order = \"failing_first\""] {
        let summary = bench.run(&recipe(settings)).unwrap();
        let verdicts: Vec<Verdict> = bench.rows(&summary, "judge", "verdicts");
        rows.push(
            verdicts
                .iter()
                .map(|row| (row.program.clone(), row.verdict.clone(), row.failed_test))
                .collect::<Vec<_>>(),
        );
        let words = verdicts[1].detail.as_deref();
        assert_eq!(words, Some("not above 10"), "the checker's words");
    }
    let wanted = [
        ("0", "AC", None),
        ("1", "WA", Some(1)),
        ("2", "AC", None),
        ("0", "AC", None),
        ("1", "WA", Some(0)),
    ];
    let wanted =
        wanted.map(|(program, verdict, test)| (program.to_owned(), verdict.to_owned(), test));
    assert_eq!(rows, [wanted.to_vec(), wanted.to_vec()]);
}

#[test]
fn an_interrupted_problem_repeats_only_what_had_not_finished() {
    let bench = Bench::new();
    let problems = bench.table("problems", vec![problem("k/one", &[("1\n", "1\n")], &[])]);
    // Slow enough for progress to be seen between two programs of the one problem.
    let programs: Vec<_> = (0..6)
        .map(|sample| {
            let text = format!("import time\ntime.sleep(0.2)\nprint({sample} and 1)\n");
            generation("k/one", sample, "python3", &text)
        })
        .collect();
    let generations = bench.table("generations", programs);
    let recipe = format!(
        "[judge]\ninputs = {{ problems = \"{problems}\", generations = \"{generations}\" }}\n\
         how = {{ workers = 1 }}\n"
    );
    bench.run_until(&recipe, Some(3)).unwrap_err();
    let summary = bench.run(&recipe).unwrap();
    let log = bench.timings("judge");
    let lines = |number: u32| {
        log.lines()
            .filter(|line| line.contains(&format!(",{number},python3")))
            .count()
    };
    assert_eq!(lines(0), 1, "judged once, before the interruption:\n{log}");
    let verdicts: Vec<Verdict> = bench.rows(&summary, "judge", "verdicts");
    let accepted: Vec<&str> = verdicts.iter().map(|row| row.verdict.as_str()).collect();
    assert_eq!(accepted, ["WA", "AC", "AC", "AC", "AC", "AC"]);
}

#[test]
fn cases_say_what_is_allowed_and_what_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    let lines = [
        serde_json::json!({
            "id": "reads", "language": "python", "stdin": "", "expected_stdout": "SAFE\n",
            "source": format!("try:\n    print(open({:?}).read())\nexcept OSError:\n    print('SAFE')\n", secret),
            "time_limit_ms": 1000, "memory_limit_mb": 256, "expected_verdicts": ["AC"], "tier": 1,
            "danger": "judge", "runs": 2,
            "setup": {"files": [{"path": secret, "content": "SECRET", "mode": "0644"}]},
            "checks": [
                {"kind": "stdout_lacks", "text": "SECRET"}, {"kind": "no_process"},
                {"kind": "same_stdout_every_run"}, {"kind": "path_absent", "path": "/tmp/never-there"},
            ],
        }),
        serde_json::json!({
            "id": "found out", "language": "c", "stdin": "", "expected_stdout": "7\n",
            "source": "#include <stdio.h>\nint main(){puts(\"7\");}", "expected_verdicts": ["TLE"], "tier": 1,
            "checks": [{"kind": "stdout_lacks", "text": "7"}, {"kind": "unheard of"}],
        }),
        serde_json::json!({
            "id": "latin", "language": "c", "encoding": "latin-1", "expected_stdout": "\u{e9}\n",
            "source": "#include <stdio.h>\nint main(){printf(\"\\xe9\");}", "expected_verdicts": ["AC"],
        }),
        serde_json::json!({
            "id": "pair", "output": "YES", "expected": "yes",
            "verdicts": {"strict": "WA", "code_contests": "AC", "lenient": "AC"},
        }),
    ];
    let file = folder.path().join("cases.jsonl");
    let text: String = lines.iter().map(|line| line.to_string() + "\n").collect();
    fs_err::write(&file, text).unwrap();
    let all = cases::read(&file).unwrap();
    let mut reports: Vec<CaseReport> = Vec::new();
    cases::run(&all, 1, &How::default(), &go_on, &mut |report| {
        reports.push(report);
        Ok(())
    })
    .unwrap();
    let brief: Vec<(&str, bool, bool)> = reports
        .iter()
        .map(|report| (report.id.as_str(), report.allowed, report.unharmed))
        .collect();
    assert_eq!(
        brief,
        [
            ("reads", true, true),
            ("found out", false, false),
            ("latin", true, true),
            ("pair", true, true)
        ],
        "{reports:?}"
    );
    assert_eq!(reports[0].verdicts, ["AC", "AC"]);
    assert!(reports[1].checks.iter().all(|check| !check.passed));
    assert!(!secret.exists(), "what was put in place is removed");
    fs_err::write(&file, "{\"id\": 3}\n").unwrap();
    let error = cases::read(&file).unwrap_err();
    assert!(error.to_string().contains("line 1"), "{error:#}");
}
