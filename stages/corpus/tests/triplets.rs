//! Pairs of right and wrong programs.
#![allow(clippy::unwrap_used)]

mod scene;

use corpus::schema::{Solution, Triplet};
use corpus::table;
use scene::{Scene, problem, solution, tables, write_tables};

fn triplets(scene: &Scene, keys: &str) -> String {
    format!(
        "seed = 1\n[triplets]\ninputs = {{ {} }}\n{keys}",
        tables(scene, &["curated"])
    )
}

#[test]
fn triplets_pair_each_correct_solution() {
    let scene = Scene::new();
    write_tables(&scene, "curated", 3, 8, 5);
    let done = scene.run(&triplets(&scene, "")).unwrap();
    let rows: Vec<Triplet> = done.rows("triplets", "triplets");
    assert_eq!(rows.len(), 3 * 8 * 2);
    let solutions: Vec<Solution> = table::read(&scene.path("curated.solutions"), "s").unwrap();
    let source = |id: &str| solutions.iter().find(|s| s.solution_id == id).unwrap();
    for row in &rows {
        let (chosen, rejected) = (source(&row.chosen_id), source(&row.rejected_id));
        assert!(chosen.correct && !rejected.correct);
        assert_eq!(chosen.problem_id, rejected.problem_id);
        assert_eq!(
            (row.chosen.as_str(), row.rejected.as_str()),
            (chosen.source.trim_end(), rejected.source.trim_end())
        );
        // The distance by the textbook, and the nearest by comparing with all wrong ones.
        assert_eq!(row.distance as usize, naive(&row.chosen, &row.rejected));
        let longer = row.chosen.len().max(row.rejected.len());
        assert!((row.normalised_distance - f64::from(row.distance) / longer as f64).abs() < 1e-12);
        if row.kind == "nearest" {
            let wrong = solutions
                .iter()
                .filter(|s| !s.correct && s.problem_id == row.problem_id);
            let nearest = wrong
                .min_by_key(|s| naive(&row.chosen, s.source.trim_end()))
                .unwrap();
            assert_eq!(nearest.solution_id, row.rejected_id);
        }
    }
    let pairs: std::collections::BTreeSet<_> = rows
        .iter()
        .map(|row| (&row.chosen_id, &row.rejected_id))
        .collect();
    assert_eq!(pairs.len(), rows.len(), "no pair twice");

    let kinds = |keys: &str| {
        let rows: Vec<Triplet> = scene
            .run(&triplets(&scene, keys))
            .unwrap()
            .rows("triplets", "triplets");
        let nearest = rows.iter().filter(|row| row.kind == "nearest").count();
        (nearest, rows.len() - nearest)
    };
    assert_eq!(kinds("nearest_share = 1.0"), (24, 0));
    assert_eq!(kinds("nearest_share = 0.0"), (0, 24));
    assert_eq!(kinds("triplets = 20"), (10, 10));
    assert_eq!(kinds("correct_per_problem = 2"), (6, 6));
    let (nearest, random) = kinds("nearest_share = 0.8");
    assert!(nearest == 24 && (1..16).contains(&random), "{random}");
}

fn naive(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            row.push(
                (above[j] + usize::from(x != *y))
                    .min(above[j + 1] + 1)
                    .min(row[j] + 1),
            );
        }
        above = row;
    }
    above[b.len()]
}

#[test]
fn triplets_do_not_depend_on_threads() {
    let bytes = |threads: usize| {
        let scene = Scene::new();
        write_tables(&scene, "curated", 20, 12, 9);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let done = scene.run(&triplets(&scene, "")).unwrap();
            fs_err::read(done.path("triplets", "triplets")).unwrap()
        })
    };
    assert_eq!(bytes(1), bytes(3));
}

#[test]
fn triplets_need_grouped_rows_and_different_texts() {
    let scene = Scene::new();
    let problems = [
        problem("a/1", "train", "One."),
        problem("a/2", "train", "Two."),
    ];
    table::write(&scene.path("curated.problems"), problems).unwrap();
    let rows = [
        solution("a/1", "print(1)", true, "a"),
        solution("a/2", "print(2)", true, "a"),
        solution("a/1", "print(7)", false, "a"),
    ];
    table::write(&scene.path("curated.solutions"), rows).unwrap();
    let message = scene.run(&triplets(&scene, "")).err().unwrap();
    assert!(
        message.contains("a/1") && message.contains("not adjacent"),
        "{message}"
    );

    // A "wrong" program equal to a right one is no wrong program.
    let rows = [
        solution("a/1", "print(1)", true, "a"),
        solution("a/1", "print(1)\n\n", false, "a"),
        solution("a/1", "print(12)", false, "a"),
        solution("a/2", "print(2)", true, "a"),
    ];
    table::write(&scene.path("curated.solutions"), rows).unwrap();
    let done = scene.run(&triplets(&scene, "")).unwrap();
    let rows: Vec<Triplet> = done.rows("triplets", "triplets");
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].rejected.as_str(), rows[0].distance),
        ("print(12)", 1)
    );
    assert_eq!(done.count("triplets", "dropped.no_wrong_solution"), 1);
}

/// One problem with programs that are the same but for blanks and comments, empty, long, or alone.
fn odd_programs(scene: &Scene) {
    let cpp = |source: &str, correct: bool| {
        let language = corpus::language::Language::Cpp;
        corpus::solution::new_solution("a/1", language, source.to_owned(), correct, "curated")
    };
    let rows = [
        solution("a/1", "print(1)", true, "curated"),
        solution("a/1", "print( 1 ) # one", true, "curated"),
        solution("a/1", "print(2)", false, "curated"),
        solution("a/1", "print(22)", false, "curated"),
        solution("a/1", "print(22)  # again", false, "curated"),
        solution(
            "a/1",
            "# right but for the verdict\nprint(1)",
            false,
            "curated",
        ),
        solution("a/1", "   \n", false, "curated"),
        solution("a/1", &"x".repeat(300), false, "curated"),
        cpp("print(2);", false),
        cpp("return 0;", true),
        // No wrong solution.
        solution("a/2", "print(3)", true, "curated"),
    ];
    table::write(&scene.path("curated.solutions"), rows).unwrap();
    let problems = [
        problem("a/1", "train", "One."),
        problem("a/2", "train", "Two."),
    ];
    table::write(&scene.path("curated.problems"), problems).unwrap();
}

#[test]
fn triplets_leave_out_what_teaches_nothing() {
    let scene = Scene::new();
    odd_programs(&scene);
    let keys = "max_length = 100\nnearest_share = 1.0\nnearest = 9\n";
    let done = scene.run(&triplets(&scene, keys)).unwrap();
    let pairs = |rows: Vec<Triplet>| -> Vec<(String, String, u32)> {
        rows.into_iter()
            .map(|row| (row.chosen, row.rejected, row.distance))
            .collect()
    };
    let pair = |a: &str, b: &str, d| (a.to_owned(), b.to_owned(), d);
    let (one, other) = ("print(1)", "print( 1 ) # one");
    assert_eq!(
        pairs(done.rows("triplets", "triplets")),
        [
            pair(one, "print(2)", 1),
            pair(one, "print(22)", 2),
            pair(one, "print(22)  # again", 11),
            pair(other, "print(2)", 9),
            pair(other, "print(22)", 9),
            pair(other, "print(22)  # again", 9),
            pair("return 0;", "print(2);", 8),
        ]
    );
    assert_eq!(done.count("triplets", "dropped.same_as_correct"), 1);
    assert_eq!(done.count("triplets", "dropped.empty_solution"), 1);
    assert_eq!(done.count("triplets", "dropped.too_long"), 1);
    assert_eq!(done.count("triplets", "dropped.no_wrong_solution"), 1);

    let keys = format!("{keys}deduplicate = true\nsame_language = false\nmax_distance = 8\n");
    let done = scene.run(&triplets(&scene, &keys)).unwrap();
    assert_eq!(
        pairs(done.rows("triplets", "triplets")),
        [
            pair(one, "print(2)", 1),
            pair(one, "print(22)", 2),
            pair(one, "print(2);", 2),
            pair("return 0;", "print(2);", 8),
        ]
    );
    assert_eq!(done.count("triplets", "dropped.duplicate_solution"), 2);
}

#[test]
fn triplets_of_absurd_programs() {
    let scene = Scene::new();
    // A megabyte, and the same with a few edits; thousands of copies on both sides.
    let long = "x = x * 31 + 7\n".repeat(70_000);
    let longer = format!("y = 1\n{long}print(y)\n");
    let mut rows = vec![
        solution("a/1", &long, true, "curated"),
        solution("a/1", &longer, false, "curated"),
    ];
    rows.extend((0..3000).map(|n| solution("a/2", "print(1)", n % 2 == 0, "curated")));
    rows.extend((0..4000).map(|n| {
        let text = ["print(1)", "print(2)"][n % 2];
        solution("a/3", text, n % 2 == 0, "curated")
    }));
    table::write(&scene.path("curated.solutions"), rows).unwrap();
    let problems = ["a/1", "a/2", "a/3"].map(|id| problem(id, "train", id));
    table::write(&scene.path("curated.problems"), problems).unwrap();

    let keys = "nearest_share = 1.0\ndeduplicate = true\n";
    let done = scene.run(&triplets(&scene, keys)).unwrap();
    let rows: Vec<Triplet> = done.rows("triplets", "triplets");
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].problem_id.as_str(), rows[0].distance), ("a/3", 1));
    // The right program of a megabyte has no use without the wrong one.
    assert_eq!(done.count("triplets", "dropped.too_long"), 1);
    assert_eq!(done.count("triplets", "dropped.same_as_correct"), 1500);
    let duplicates = done.count("triplets", "dropped.duplicate_solution");
    assert_eq!(duplicates, 1499 + 1999 + 1999);

    let keys = "nearest_share = 1.0\nmax_length = 0\n";
    let done = scene.run(&triplets(&scene, keys)).unwrap();
    let rows: Vec<Triplet> = done.rows("triplets", "triplets");
    assert_eq!(rows.len(), 1 + 2000);
    assert_eq!((rows[0].problem_id.as_str(), rows[0].distance), ("a/1", 15));
    assert!(rows[1..].iter().all(|row| row.rejected == "print(2)"));
}

/// More text than is compared at a time: of programs that are as near, the first still counts.
#[test]
fn the_nearest_is_found_among_many_long_programs() {
    let scene = Scene::new();
    table::write(
        &scene.path("curated.problems"),
        [problem("a/1", "train", "One.")],
    )
    .unwrap();
    let right = "a = 1\n".repeat(10_000);
    let edits = |number: usize| match number {
        20 | 150 => 2,
        199 => 1,
        _ => 5 + number * 7 % 50,
    };
    let mut rows: Vec<Solution> = (0..200)
        .map(|number| {
            let text = format!("{right}{}", "x".repeat(edits(number)));
            Solution {
                solution_id: format!("{number:016x}"),
                ..solution("a/1", &text, false, "a")
            }
        })
        .collect();
    rows.push(solution("a/1", &right, true, "a"));
    table::write(&scene.path("curated.solutions"), rows).unwrap();
    let done = scene.run(&triplets(&scene, "nearest = 4")).unwrap();
    let rows: Vec<Triplet> = done.rows("triplets", "triplets");
    let found: Vec<(u64, u32)> = rows
        .iter()
        .filter(|row| row.kind == "nearest")
        .map(|row| {
            let number = u64::from_str_radix(&row.rejected_id, 16).unwrap();
            (number, row.distance)
        })
        .collect();
    // One more than edits: the line break at the end of the right one is not compared.
    assert_eq!(found, [(199, 2), (20, 3), (150, 3), (0, 6)]);
    let random = rows.iter().find(|row| row.kind == "random").unwrap();
    let number = usize::from_str_radix(&random.rejected_id, 16).unwrap();
    assert_eq!(random.distance as usize, edits(number) + 1);
}
