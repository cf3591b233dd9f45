//! The stages `judge` and `verify` on small tables, with real programs in the sandbox.
#![allow(clippy::unwrap_used)]

mod support;

use corpus::schema::{Generation, Solution, Verdict};
use engine::Error;
use support::{Bench, chain, generation, problem, solution};

sandbox::launcher_before_main!();

const SUM_CPP: &str =
    "#include <iostream>\nint main(){long long a,b;std::cin>>a>>b;std::cout<<a+b<<'\\n';}\n";
const SUM_PYTHON: &str = "print(sum(map(int, input().split())))\n";
const HOW: &str = "how = { workers = 2 }";

/// Adds two numbers; the public tests do not need 64 bits, the private one does.
fn sum() -> corpus::schema::Problem {
    problem(
        "contest/sum",
        &[("1 2\n", "3\n"), ("-5 5\n", "0\n")],
        &[("4000000000 5\n", "4000000005\n"), ("7 7\n", "14\n")],
    )
}

fn judge_recipe(problems: &str, generations: &str, settings: &str) -> String {
    format!(
        "[judge]\ninputs = {{ problems = \"{problems}\", generations = \"{generations}\" }}\n\
         {settings}\n{HOW}\n"
    )
}

fn brief(verdict: &Verdict) -> (&str, &str, bool, bool, u32, u32, Option<i32>) {
    (
        &verdict.program,
        &verdict.verdict,
        verdict.compiled,
        verdict.public_passed,
        verdict.tests_passed,
        verdict.tests_run,
        verdict.failed_test,
    )
}

/// One program for each verdict, in both languages where they differ.
fn every_kind() -> Vec<Generation> {
    let programs = [
        ("cpp", SUM_CPP),
        (
            "cpp",
            "#include <iostream>\nint main(){int a,b;std::cin>>a>>b;std::cout<<a+b;}",
        ),
        ("cpp", "int main(){return 0}"),
        ("cpp", "int main(){for(volatile int i=0;;i++);}"),
        ("cpp", "#include <cstdlib>\nint main(){abort();}"),
        ("python3", SUM_PYTHON),
        ("python3", "print(\n"),
        (
            "python3",
            "a, b = map(int, input().split())\nprint(a + b if a < 7 else 1 // 0)\n",
        ),
        ("python3", "x = bytearray(1 << 29)\nprint(len(x))\n"),
        (
            "cpp",
            "#include <cstdio>\nint main(){for(;;)puts(\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\");}",
        ),
    ];
    (0..)
        .zip(programs)
        .map(|(sample, (language, text))| generation("contest/sum", sample, language, text))
        .collect()
}

#[test]
fn every_verdict_with_the_lowest_failing_test() {
    let bench = Bench::new();
    let problems = bench.table("problems", vec![sum()]);
    let generations = bench.table("generations", every_kind());
    let summary = bench
        .run(&judge_recipe(&problems, &generations, ""))
        .unwrap();
    let verdicts: Vec<Verdict> = bench.rows(&summary, "judge", "verdicts");
    let wanted = [
        ("0", "AC", true, true, 4, 4, None),
        ("1", "WA", true, true, 2, 3, Some(2)),
        ("2", "CE", false, false, 0, 0, None),
        ("3", "TLE", true, false, 0, 1, Some(0)),
        ("4", "RE", true, false, 0, 1, Some(0)),
        ("5", "AC", true, true, 4, 4, None),
        ("6", "CE", false, false, 0, 0, None),
        ("7", "RE", true, true, 2, 3, Some(2)),
        ("8", "MLE", true, false, 0, 1, Some(0)),
        ("9", "OLE", true, false, 0, 1, Some(0)),
    ];
    let found: Vec<_> = verdicts.iter().map(brief).collect();
    // Where memory is bounded by address space, what is too much fails in the program itself.
    assert!(matches!(found[8].1, "MLE" | "RE"), "{:?}", verdicts[8]);
    assert_eq!(found[..8], wanted[..8]);
    assert_eq!(found[9], wanted[9]);
    let detail = |program: usize| verdicts[program].detail.clone().unwrap_or_default();
    assert!(detail(2).contains("expected"), "{}", detail(2));
    assert_eq!(detail(3), "more than 1 s of processor time");
    assert!(detail(7).contains("ZeroDivisionError"), "{}", detail(7));

    let report = bench.json(&summary, "judge", "report");
    assert_eq!(report["programs"], 10);
    assert_eq!(report["verdict_counts"]["AC"], 2);
    assert_eq!(report["solved_problems"]["strict"], 1);
    assert!(!report["isolation"][0].as_str().unwrap().is_empty());
}

#[test]
fn all_tests_count_what_passes_after_a_failure() {
    let bench = Bench::new();
    let problems = bench.table("problems", vec![sum()]);
    let generations = bench.table("generations", every_kind().drain(1..2).collect());
    let recipe = judge_recipe(&problems, &generations, "rules = { all_tests = true }");
    let summary = bench.run(&recipe).unwrap();
    let verdicts: Vec<Verdict> = bench.rows(&summary, "judge", "verdicts");
    assert_eq!(brief(&verdicts[0]), ("1", "WA", true, true, 3, 4, Some(2)));
}

#[test]
fn time_limits_follow_the_language() {
    let bench = Bench::new();
    let problems = bench.table("problems", vec![sum()]);
    // 1.4 seconds by its own clock, so that a fast machine does not make it fit.
    let slow = "import time\nwhile time.process_time() < 1.4: pass\nprint(sum(map(int, input().split())))\n";
    let rows = vec![generation("contest/sum", 0, "python3", slow)];
    let generations = bench.table("generations", rows);
    let verdict = |settings: &str| {
        let recipe = judge_recipe(&problems, &generations, settings);
        let summary = bench.run(&recipe).unwrap();
        let verdicts: Vec<Verdict> = bench.rows(&summary, "judge", "verdicts");
        verdicts[0].verdict.clone()
    };
    assert_eq!(verdict(""), "TLE");
    assert_eq!(
        verdict("rules = { time_multiplier = { python3 = 3.0 } }"),
        "AC"
    );
}

#[test]
fn the_way_of_comparing_decides_and_the_others_are_counted() {
    let bench = Bench::new();
    let problems = bench.table(
        "problems",
        vec![problem("contest/yes", &[("", "YES\n")], &[("", "YES\n")])],
    );
    let rows = vec![generation("contest/yes", 0, "python3", "print('yes')\n")];
    let generations = bench.table("generations", rows);
    for (mode, verdict, run) in [("strict", "WA", 1), ("code_contests", "AC", 2)] {
        let settings = format!("rules = {{ compare = \"{mode}\" }}");
        let summary = bench
            .run(&judge_recipe(&problems, &generations, &settings))
            .unwrap();
        let verdicts: Vec<Verdict> = bench.rows(&summary, "judge", "verdicts");
        assert_eq!(
            (verdicts[0].verdict.as_str(), verdicts[0].tests_run),
            (verdict, run)
        );
        let report = bench.json(&summary, "judge", "report");
        assert_eq!(report["solved_problems"]["strict"], 0);
        assert_eq!(report["solved_problems"]["lenient"], 1);
    }
}

#[test]
fn what_cannot_be_judged_is_counted_and_equal_programs_run_once() {
    let bench = Bench::new();
    let mut named = problem("contest/named", &[("1 2", "3")], &[]);
    named.input_file = Some("in.txt".into());
    let problems = bench.table(
        "problems",
        vec![problem("contest/bare", &[], &[]), named, sum()],
    );
    let commented = format!("// the same program\n{SUM_CPP}");
    let rows = vec![
        generation("contest/sum", 0, "cpp", SUM_CPP),
        generation("contest/sum", 1, "cpp", SUM_CPP.trim_end()),
        generation("contest/sum", 2, "cpp", &commented),
        generation("contest/bare", 0, "cpp", SUM_CPP),
        generation("contest/named", 0, "cpp", SUM_CPP),
    ];
    let generations = bench.table("generations", rows);
    let summary = bench
        .run(&judge_recipe(&problems, &generations, ""))
        .unwrap();
    let verdicts: Vec<Verdict> = bench.rows(&summary, "judge", "verdicts");
    assert_eq!(verdicts.len(), 3);
    assert!(verdicts.iter().all(|verdict| verdict.verdict == "AC"));
    let report = bench.json(&summary, "judge", "report");
    assert_eq!(report["problems"], 1);
    assert_eq!(report["distinct_programs"], 1, "text, then compiled bytes");
    assert_eq!(
        report["problems_without_tests"],
        serde_json::json!(["contest/bare"])
    );
    assert_eq!(
        report["problems_with_named_files"],
        serde_json::json!(["contest/named"])
    );
}

#[test]
fn an_interrupted_run_goes_on_and_ends_with_the_same_bytes() {
    // Asleep for longer than the time between two progress events.
    const SLEEPY: &str = "import time\ntime.sleep(0.15)\nprint(3)\n";
    let problems: Vec<_> = (0..6)
        .map(|i| problem(&format!("contest/{i}"), &[("1 2", "3")], &[("3 4", "7")]))
        .collect();
    let generations: Vec<_> = (0..6)
        .flat_map(|i| {
            let id = format!("contest/{i}");
            [
                generation(&id, 0, "python3", SUM_PYTHON),
                generation(&id, 1, "python3", SLEEPY),
            ]
        })
        .collect();
    let make = |bench: &Bench| {
        let problems = bench.table("problems", problems.clone());
        let generations = bench.table("generations", generations.clone());
        // One worker takes one problem after the other.
        judge_recipe(&problems, &generations, "").replace("workers = 2", "workers = 1")
    };
    let (stopped, whole) = (Bench::new(), Bench::new());
    let recipe = make(&stopped);
    let error = stopped.run_until(&recipe, Some(3)).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{}", chain(&error));
    let resumed = stopped.run(&recipe).unwrap();
    assert!(!resumed.traces["judge"].resumed_from.is_empty());
    let fresh = whole.run(&make(&whole)).unwrap();
    for output in ["verdicts", "report"] {
        assert_eq!(
            resumed.traces["judge"].outputs[output].address,
            fresh.traces["judge"].outputs[output].address,
            "{output}"
        );
    }
}

#[test]
fn wrong_tables_are_refused_in_words() {
    let bench = Bench::new();
    let problems = bench.table("problems", vec![sum()]);
    for (rows, words) in [
        (
            vec![generation("contest/other", 0, "cpp", SUM_CPP)],
            "row 0 of",
        ),
        (
            vec![generation("contest/sum", 0, "java", "class A {}")],
            "sample in cpp or python3",
        ),
    ] {
        let generations = bench.table("generations", rows);
        let error = bench
            .run(&judge_recipe(&problems, &generations, ""))
            .unwrap_err();
        assert!(chain(&error).contains(words), "{}", chain(&error));
    }
}

fn claims() -> Vec<Solution> {
    let wrong = "print(3)\n";
    vec![
        solution("contest/sum", "s0", "cpp", SUM_CPP, true),
        solution("contest/sum", "s1", "python3", wrong, false),
        solution("contest/sum", "s2", "python3", wrong, true),
        solution("contest/sum", "s3", "python3", SUM_PYTHON, false),
        solution("contest/sum", "s4", "java", "class A {}", true),
        solution("contest/bare", "s5", "cpp", SUM_CPP, true),
    ]
}

fn verify_recipe(problems: &str, solutions: &str, settings: &str) -> String {
    format!(
        "[verify]\ninputs = {{ problems = \"{problems}\", solutions = \"{solutions}\" }}\n\
         {settings}\n{HOW}\n"
    )
}

#[test]
fn verify_keeps_what_is_what_it_claims() {
    let bench = Bench::new();
    let problems = bench.table("problems", vec![problem("contest/bare", &[], &[]), sum()]);
    let solutions = bench.table("solutions", claims());
    for (settings, wanted) in [
        ("", vec!["s0", "s1"]),
        ("keep_unverified = true", vec!["s0", "s1", "s4", "s5"]),
    ] {
        let summary = bench
            .run(&verify_recipe(&problems, &solutions, settings))
            .unwrap();
        let kept: Vec<Solution> = bench.rows(&summary, "verify", "solutions");
        let ids: Vec<&str> = kept.iter().map(|row| row.solution_id.as_str()).collect();
        assert_eq!(ids, wanted);
        let verdicts: Vec<Verdict> = bench.rows(&summary, "verify", "verdicts");
        let programs: Vec<&str> = verdicts.iter().map(|row| row.program.as_str()).collect();
        assert_eq!(programs, ["s0", "s1", "s2", "s3"]);
        let report = bench.json(&summary, "verify", "report");
        assert_eq!(
            (report["verified"].as_u64(), report["agreeing"].as_u64()),
            (Some(4), Some(2))
        );
        assert_eq!(report["unverified"]["not_runnable"]["java"], 1);
        assert_eq!(report["unverified"]["no_tests"]["cpp"], 1);
        assert_eq!(report["by_language"]["python3"]["correct"]["disagree"], 1);
        assert_eq!(report["disagreements"][1]["solution_id"], "s3");
    }
}

#[test]
fn strict_verification_names_the_liars() {
    let bench = Bench::new();
    let problems = bench.table("problems", vec![problem("contest/bare", &[], &[]), sum()]);
    let solutions = bench.table("solutions", claims());
    let recipe = verify_recipe(&problems, &solutions, "strict = true");
    let text = chain(&bench.run(&recipe).unwrap_err());
    assert!(text.contains("2 of 4 solutions"), "{text}");
    assert!(
        text.contains("s2 of contest/sum (python3) is called correct"),
        "{text}"
    );
    assert!(
        text.contains("s3 of contest/sum (python3) is called wrong but is judged AC"),
        "{text}"
    );
    let honest = claims()
        .into_iter()
        .filter(|row| matches!(row.solution_id.as_str(), "s0" | "s1"));
    let solutions = bench.table("solutions", honest.collect());
    bench
        .run(&verify_recipe(&problems, &solutions, "strict = true"))
        .unwrap();
}

#[test]
fn fresh_programs_are_graded_by_public_tests_and_by_all() {
    let bench = Bench::new();
    let problems = bench.table("problems", vec![sum()]);
    let programs = [
        ("python3", SUM_PYTHON),
        // Too narrow for the hidden test.
        (
            "cpp",
            "#include <iostream>\nint main(){int a,b;std::cin>>a>>b;std::cout<<a+b;}",
        ),
        // Right for one of two public tests.
        ("python3", "print(3)"),
        ("python3", "print("),
    ];
    let text: Vec<String> = programs
        .iter()
        .map(|(language, source)| format!("[\"contest/sum\", \"{language}\", {source:?}]"))
        .collect();
    let recipe = |rows: &str| {
        format!("[grading]\ninputs = {{ problems = \"{problems}\" }}\nprograms = [{rows}]\n")
    };
    let summary = bench.run(&recipe(&text.join(", "))).unwrap();
    assert_eq!(
        bench.json(&summary, "grading", "grades"),
        serde_json::json!([
            [true, 1.0, true],
            [true, 1.0, false],
            [true, 0.5, false],
            [false, 0.0, false]
        ])
    );
    let unknown = bench.run(&recipe("[\"contest/other\", \"python3\", \"1\"]"));
    let error = chain(&unknown.unwrap_err());
    assert!(error.contains("contest/other"), "{error}");
}

#[test]
fn programs_that_print_the_same_on_changed_inputs_are_one_cluster() {
    let bench = Bench::new();
    let problems = bench.table("problems", vec![sum()]);
    let programs = [
        ("cpp", SUM_CPP),
        ("python3", SUM_PYTHON),
        // Wrong, but only for numbers that no small change leads to.
        (
            "cpp",
            "#include <iostream>\nint main(){int a,b;std::cin>>a>>b;std::cout<<a+b;}",
        ),
        // Right on the public tests alone.
        ("python3", "print(3 if input() == '1 2' else 0)\n"),
        // Wrong on them already: in no cluster.
        ("python3", "print(3)\n"),
        ("python3", "print(\n"),
    ];
    let rows = (0..)
        .zip(programs)
        .map(|(sample, (language, text))| generation("contest/sum", sample, language, text));
    let generations = bench.table("generations", rows.collect());
    let plain = bench
        .run(&judge_recipe(&problems, &generations, ""))
        .unwrap();
    let report = bench.json(&plain, "judge", "report");
    assert!(report.get("clusters").is_none(), "only if asked for");
    let settings = "rules.cluster_inputs = 20";
    let clustered = bench
        .run(&judge_recipe(&problems, &generations, settings))
        .unwrap();
    let report = bench.json(&clustered, "judge", "report");
    let wanted = serde_json::json!({
        "contest/sum": [{"samples": 3, "solved": 2}, {"samples": 1, "solved": 0}]
    });
    assert_eq!(report["clusters"], wanted);
    let verdicts = |summary| -> Vec<Verdict> { bench.rows(summary, "judge", "verdicts") };
    assert_eq!(
        verdicts(&plain),
        verdicts(&clustered),
        "verdicts are not concerned"
    );
}
