//! Kattis problem packages: their folders and settings, and their default output validator.
//!
//! Read by `package.rs`. Of `problem.yaml` and `testdata.yaml` only the few plain settings that
//! decide a verdict are read, by line: `validation`, `validator_flags`, `limits`. Both layouts of
//! the format are understood (`output_validators/NAME/` and `output_validator/`).
//! Deliberately absent: scores, interactive problems, generators, input validators.

use anyhow::{Context as _, bail};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What a package says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// CPU seconds; without it the accepted submissions decide.
    pub time_limit_s: Option<f64>,
    /// How often the slowest accepted submission's time is the limit.
    pub time_multiplier: Option<f64>,
    /// Bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Flags of the output validator.
    pub flags: Vec<String>,
    /// The package's own output validator.
    pub validator: Option<PathBuf>,
}

impl Manifest {
    /// Reads the settings of a package.
    ///
    /// # Errors
    /// A file cannot be read, a number is none, or the problem is interactive.
    pub fn read(package: &Path) -> anyhow::Result<Self> {
        let path = package.join("problem.yaml");
        let settings = settings(&fs_err::read_to_string(&path)?);
        let number = |key: &str| -> anyhow::Result<Option<f64>> {
            let parsed = settings.get(key).map(|text| text.parse::<f64>());
            parsed
                .transpose()
                .with_context(|| format!("{}: `{key}` is no number", path.display()))
        };
        let validation = settings
            .get("validation")
            .or_else(|| settings.get("type"))
            .map_or("", String::as_str);
        if validation.contains("interactive") || validation.contains("multi-pass") {
            bail!(
                "{}: interactive problems cannot be judged here",
                path.display()
            );
        }
        let mut time_limit_s = number("limits.time_limit")?;
        for name in [".timelimit", "domjudge-problem.ini"] {
            let Ok(text) = fs_err::read_to_string(package.join(name)) else {
                continue;
            };
            let mut lines = text.lines().map(|line| {
                let value = line.split_once('=').map_or(line, |(_, value)| value);
                value.trim().trim_matches(['\'', '"']).parse::<f64>().ok()
            });
            time_limit_s = time_limit_s.or_else(|| lines.find_map(|value| value));
        }
        Ok(Self {
            time_limit_s: time_limit_s.filter(|limit| *limit > 0.0),
            time_multiplier: number("limits.time_multiplier")?,
            memory_limit_bytes: number("limits.memory")?.map(|mib| (mib * 1_048_576.0) as u64),
            flags: words(settings.get("validator_flags")),
            validator: validator(package)?,
        })
    }
}

/// The validator flags of the group of tests in `folder`, if it has its own.
///
/// # Errors
/// Its settings cannot be read.
pub fn group_flags(folder: &Path) -> anyhow::Result<Option<Vec<String>>> {
    for name in ["testdata.yaml", "test_group.yaml"] {
        let path = folder.join(name);
        if path.exists() {
            let settings = settings(&fs_err::read_to_string(&path)?);
            let own = settings
                .get("output_validator_flags")
                .or_else(|| settings.get("output_validator_args"));
            return Ok(own.map(|text| words(Some(text))));
        }
    }
    Ok(None)
}

/// The tests of a package or a plain folder, sorted by path: name, input, answer.
///
/// # Errors
/// A folder cannot be read.
pub fn tests_below(folder: &Path) -> anyhow::Result<Vec<(PathBuf, PathBuf)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_some_and(|suffix| suffix == "in") {
                let answers = ["ans", "out"].map(|suffix| path.with_extension(suffix));
                if let Some(answer) = answers.into_iter().find(|path| path.exists()) {
                    found.push((path, answer));
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

fn validator(package: &Path) -> anyhow::Result<Option<PathBuf>> {
    let new = package.join("output_validator");
    if new.is_dir() {
        return Ok(Some(new));
    }
    let old = package.join("output_validators");
    if !old.is_dir() {
        return Ok(None);
    }
    let mut entries: Vec<PathBuf> = fs_err::read_dir(&old)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    entries.sort();
    Ok(entries.into_iter().next())
}

fn words(text: Option<&String>) -> Vec<String> {
    let words = text.map_or("", String::as_str).trim_matches(['[', ']']);
    words
        .split([' ', ','])
        .map(|word| word.trim_matches(['\'', '"']))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The plain settings of a file: `key: value`, those below another key as `above.key`.
fn settings(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut above = String::new();
    for line in text.lines() {
        let content = line.split(" #").next().unwrap_or_default().trim_end();
        let Some((key, value)) = content.split_once(':') else {
            continue;
        };
        if key.trim_start().starts_with(['#', '-']) {
            continue;
        }
        let value = value.trim().trim_matches(['\'', '"']).to_owned();
        if key.starts_with([' ', '\t']) {
            found.insert(format!("{above}.{}", key.trim()), value);
        } else {
            key.trim().clone_into(&mut above);
            found.insert(above.clone(), value);
        }
    }
    found
}

/// The default output validator: tokens, of any case unless a flag says otherwise, numbers
/// within a tolerance if a flag gives one.
///
/// # Errors
/// A flag is unknown or its number is none.
pub fn accepts(flags: &[String], output: &[u8], expected: &[u8]) -> anyhow::Result<bool> {
    let mut is_case_sensitive = false;
    let mut is_space_sensitive = false;
    let (mut absolute, mut relative) = (None, None);
    let mut words = flags.iter();
    while let Some(flag) = words.next() {
        let mut number = || -> anyhow::Result<Option<f64>> {
            let word = words.next().map_or("", String::as_str);
            let number: f64 = word
                .parse()
                .with_context(|| format!("validator flag `{flag}` has `{word}` for a number"))?;
            Ok(Some(number))
        };
        match flag.as_str() {
            "case_sensitive" => is_case_sensitive = true,
            "space_change_sensitive" => is_space_sensitive = true,
            "float_tolerance" => {
                absolute = number()?;
                relative = absolute;
            }
            "float_absolute_tolerance" => absolute = number()?,
            "float_relative_tolerance" => relative = number()?,
            other => bail!("the default validator has no flag `{other}`"),
        }
    }
    let is_equal = |one: &[u8], other: &[u8]| {
        let is_close = || {
            let (one, other) = (number(one)?, number(other)?);
            let difference = (one - other).abs();
            let within = |bound: f64, tolerance: Option<f64>| {
                tolerance.is_some_and(|tolerance| difference <= tolerance * bound)
            };
            Some(within(1.0, absolute) || within(other.abs(), relative))
        };
        let is_same = if is_case_sensitive {
            one == other
        } else {
            one.eq_ignore_ascii_case(other)
        };
        let has_tolerance = absolute.is_some() || relative.is_some();
        is_same || (has_tolerance && is_close().unwrap_or(false))
    };
    let (mut left, mut right) = (
        pieces(output, is_space_sensitive),
        pieces(expected, is_space_sensitive),
    );
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ok(true),
            (Some(one), Some(other)) if is_equal(one, other) => {}
            _ => return Ok(false),
        }
    }
}

/// Tokens; with `keep` the blanks between them too.
fn pieces(text: &[u8], keep: bool) -> impl Iterator<Item = &[u8]> {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    text.chunk_by(move |one, other| is_blank(one) == is_blank(other))
        .filter(move |piece| keep || !is_blank(&piece[0]))
}

fn number(token: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(token).ok()?;
    let number: f64 = text.parse().ok()?;
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(flags: &str, output: &str, expected: &str) -> bool {
        let flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
        accepts(&flags, output.as_bytes(), expected.as_bytes()).expect("known flags")
    }

    #[test]
    fn the_default_validator_compares_tokens() {
        assert!(says("", "YES  1\n", "yes 1"));
        assert!(!says("case_sensitive", "YES", "yes"));
        assert!(!says("", "1 2", "1"));
        assert!(!says("", "1", "1 2"));
        assert!(says("space_change_sensitive", "1 2\n", "1 2\n"));
        assert!(!says("space_change_sensitive", "1  2\n", "1 2\n"));
        assert!(!says("", "0.5", "0.50"));
    }

    #[test]
    fn numbers_may_be_close() {
        assert!(says("float_tolerance 1e-6", "0.5000001", "0.5"));
        assert!(says("float_tolerance 1e-6", "1000000.5", "1000000"));
        assert!(!says(
            "float_absolute_tolerance 1e-6",
            "1000000.5",
            "1000000"
        ));
        assert!(says(
            "float_relative_tolerance 1e-6",
            "1000000.5",
            "1000000"
        ));
        assert!(!says("float_tolerance 1e-6", "nan", "1"));
        assert!(says("float_tolerance 1e-6", "1e3", "1000"));
        assert!(accepts(&["loose".into()], b"", b"").is_err());
        assert!(accepts(&["float_tolerance".into()], b"", b"").is_err());
    }

    #[test]
    fn settings_are_read_by_line() {
        let text = "name:\n  en: Sum\nvalidation: custom # own\nvalidator_flags: 'float_tolerance 1e-6'\n\
                    limits:\n  memory: 512\n  time_multiplier: 3\n# limits: x\n";
        let found = settings(text);
        assert_eq!(found["validation"], "custom");
        assert_eq!(found["limits.memory"], "512");
        assert_eq!(
            words(found.get("validator_flags")),
            ["float_tolerance", "1e-6"]
        );
        assert_eq!(words(Some(&"[a, 'b']".to_owned())), ["a", "b"]);
    }
}
