//! The settings by which a program is judged: comparison, limits, when to stop.
//!
//! Shared by the stages `judge` and `verify` (section `rules` of each), read by `trial.rs`.
//! All of it is part of the key. Limits of the problem itself always win over the defaults.

use crate::compare::Match;
use engine::Invalid;
use sandbox::{CommandLanguage, Language};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// How programs are judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Which comparison of outputs decides the verdict.
    pub compare: Mode,
    /// Run all tests even after a failed one; the verdict is that of the first failed test
    /// either way.
    pub all_tests: bool,
    /// CPU seconds of a test where the problem has no limit.
    pub default_time_limit_s: f64,
    /// Memory in bytes where the problem has no limit.
    pub default_memory_limit_bytes: u64,
    /// Factor on the time limit by language; 1 for languages not named.
    pub time_multiplier: BTreeMap<String, f64>,
    /// What to do when the judge itself fails on a program, three times.
    pub judge_errors: JudgeErrors,
    /// In which order tests are run after the public ones.
    #[serde(skip_serializing_if = "TestOrder::is_table")]
    pub test_order: TestOrder,
    /// Inputs, made by changing public ones, on which programs that pass the public tests are run
    /// to see which behave alike (AlphaCode's clustering had 50); 0 for none.
    #[serde(skip_serializing_if = "is_zero")]
    pub cluster_inputs: u32,
    /// Languages beside C, C++17 and Python 3, by their name in the tables; an empty entry takes
    /// the preset of that name: cpp20, java, pypy3, rust.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub languages: BTreeMap<String, Commands>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// In which order the tests that are not public are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestOrder {
    /// As in the table: the failed test is the first of them all.
    #[default]
    Table,
    /// Those first that most programs of the problem failed so far. Whether a program is accepted
    /// is the same; which failed test is named, and so the kind of failure, may differ.
    FailingFirst,
}

impl TestOrder {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    fn is_table(&self) -> bool {
        *self == Self::Table
    }
}

/// A language as commands; see [`CommandLanguage`] for the words in braces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Commands {
    /// File name of the source.
    pub source: String,
    /// Makes the file `main` of it; empty if the source is run as it is.
    pub compile: Vec<String>,
    /// Runs the program; empty if `main` is an executable.
    pub run: Vec<String>,
    /// Address space in bytes beyond the memory limit.
    pub address_slack_bytes: u64,
    /// Host folders that its tools need beside the system's.
    pub folders: Vec<PathBuf>,
}

impl Commands {
    fn language(&self, name: &str) -> Option<CommandLanguage> {
        if *self == Self::default() {
            return CommandLanguage::preset(name);
        }
        Some(CommandLanguage {
            name: name.to_owned(),
            source: self.source.clone(),
            compile: self.compile.clone(),
            run: self.run.clone(),
            address_slack_bytes: self.address_slack_bytes,
            shown: self.folders.clone(),
        })
    }
}

/// A way of comparing outputs; see `compare.rs` for what each calls equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Byte for byte, but for blanks.
    Strict,
    /// As the released CodeContests judge, its errors included.
    CodeContests,
    /// Letters of any case, numbers of about the same value.
    Lenient,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Strict, Self::CodeContests, Self::Lenient];

    /// The name in recipes and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::CodeContests => "code_contests",
            Self::Lenient => "lenient",
        }
    }

    /// Whether this way of comparing calls the outputs equal.
    pub fn of(self, found: Match) -> bool {
        match self {
            Self::Strict => found.strict,
            Self::CodeContests => found.code_contests,
            Self::Lenient => found.lenient,
        }
    }
}

/// What to do when nothing can be said about a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgeErrors {
    /// Fail the stage: what was judged before is kept, and the next run goes on from there.
    Fail,
    /// Write the verdict `JE` and go on.
    Record,
}

impl Default for Rules {
    /// Limits where there are none and the comparison are those of the released CodeContests
    /// judge (10 s, 256 MiB), so that results can stand beside published ones.
    fn default() -> Self {
        Self {
            compare: Mode::CodeContests,
            all_tests: false,
            default_time_limit_s: 10.0,
            default_memory_limit_bytes: 256 << 20,
            time_multiplier: BTreeMap::new(),
            judge_errors: JudgeErrors::Fail,
            test_order: TestOrder::Table,
            cluster_inputs: 0,
            languages: BTreeMap::new(),
        }
    }
}

impl Rules {
    /// Checks the ranges; field names begin with `rules.`.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        Invalid::unless(
            self.default_time_limit_s > 0.0 && self.default_time_limit_s <= 600.0,
            "rules.default_time_limit_s",
            "must be above 0 and at most 600 seconds",
        )?;
        Invalid::unless(
            self.default_memory_limit_bytes >= 16 << 20,
            "rules.default_memory_limit_bytes",
            "must be at least 16 MiB (16777216), below which no interpreter starts",
        )?;
        Invalid::unless(
            self.cluster_inputs <= 1000,
            "rules.cluster_inputs",
            "must be at most 1000: every program that passes the public tests runs on each",
        )?;
        for (language, factor) in &self.time_multiplier {
            Invalid::unless(
                *factor > 0.0 && *factor <= 100.0,
                format!("rules.time_multiplier.{language}"),
                "must be above 0 and at most 100",
            )?;
            Invalid::unless(
                self.language(language).is_some(),
                format!("rules.time_multiplier.{language}"),
                "is not a language the judge can run: cpp, c, python3, or one of rules.languages",
            )?;
        }
        for (name, commands) in &self.languages {
            let field = || format!("rules.languages.{name}");
            Invalid::unless(
                !matches!(name.as_str(), "cpp" | "c" | "python3" | "python2"),
                field(),
                "is built in and cannot be another language",
            )?;
            let Some(language) = commands.language(name) else {
                return Err(Invalid::new(
                    field(),
                    format!(
                        "has no commands, and no preset has this name: {}",
                        CommandLanguage::PRESETS.join(", ")
                    ),
                ));
            };
            Invalid::unless(
                !language.source.is_empty() && !language.source.contains('/'),
                format!("{}.source", field()),
                "must be a file name, such as main.go",
            )?;
            Invalid::unless(
                !(language.compile.is_empty() && language.run.is_empty()),
                field(),
                "needs a command to compile or one to run",
            )?;
        }
        Ok(())
    }

    /// The language of a name in a table, if it can be run.
    pub(crate) fn language(&self, name: &str) -> Option<Language> {
        if let Some(place) = self.languages.keys().position(|other| other == name) {
            return u16::try_from(place).ok().map(Language::Command);
        }
        match name {
            "cpp" => Some(Language::Cpp),
            "c" => Some(Language::C),
            "python3" => Some(Language::Python3),
            _ => None,
        }
    }
}

/// How a judging stage uses the machine; never part of a result.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct How {
    /// Programs judged side by side; 0 for one per processor.
    pub workers: usize,
    /// Folder for the precompiled C++ header; by default `iota` in the user's cache folder.
    pub header_cache: Option<PathBuf>,
    /// The Python 3 interpreter; by default `/usr/bin/python3`, then the first on `PATH`.
    pub python3: Option<PathBuf>,
    /// Judge even where programs cannot be isolated. For programs you would run yourself.
    pub unsafe_mode: bool,
}

impl How {
    /// The sandbox's options.
    pub(crate) fn sandbox_options(&self, rules: &Rules) -> sandbox::Options {
        let languages = rules.languages.iter();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        sandbox::Options {
            workers: if self.workers == 0 {
                cores
            } else {
                self.workers
            },
            cache_dir: self.header_cache.clone().or_else(user_cache),
            python3: self.python3.clone(),
            unsafe_mode: self.unsafe_mode,
            languages: languages
                .filter_map(|(name, commands)| commands.language(name))
                .collect(),
            ..sandbox::Options::default()
        }
    }
}

fn user_cache() -> Option<PathBuf> {
    let folder = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .filter(|path| path.is_absolute())?;
    Some(cache.join("iota"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass_and_bad_values_name_their_field() {
        Rules::default().check().expect("defaults are in range");
        let bad: Rules = serde_json::from_str(r#"{"time_multiplier": {"python3": 0}}"#)
            .expect("it is well formed");
        let invalid = bad.check().expect_err("0 is no factor");
        assert_eq!(invalid.field, "rules.time_multiplier.python3");
        let unknown: Rules =
            serde_json::from_str(r#"{"time_multiplier": {"cobol": 2}}"#).expect("well formed");
        assert!(unknown.check().is_err());
        let preset: Rules =
            serde_json::from_str(r#"{"languages": {"java": {}}}"#).expect("well formed");
        preset.check().expect("a preset");
        assert_eq!(preset.language("java"), Some(Language::Command(0)));
        assert_eq!(Rules::default().language("java"), None);
        for bad in [
            r#"{"languages": {"cobol": {}}}"#,
            r#"{"languages": {"cpp": {}}}"#,
            r#"{"languages": {"x": {"source": "a/b", "run": ["sh"]}}}"#,
            r#"{"languages": {"x": {"source": "a"}}}"#,
        ] {
            let rules: Rules = serde_json::from_str(bad).expect("well formed");
            assert!(rules.check().is_err(), "{bad}");
        }
        let text = serde_json::to_string(&Rules::default()).expect("plain data");
        assert!(
            ["languages", "test_order", "cluster"]
                .iter()
                .all(|word| !text.contains(word)),
            "keys of old recipes stay"
        );
        let misspelt = serde_json::from_str::<Rules>(r#"{"all_test": true}"#);
        assert!(misspelt.is_err());
    }
}
