//! Programming languages: one short name each, whatever the source of the data calls them.
//!
//! Used by `ingest` (CodeContests' integer codes), `dump` (strings such as "GNU C++17 (64)")
//! and `prompt` (the title that stands in the prompt). The short names are the values of the
//! columns `language`.
//!
//! Promises: an unknown code or string is `None`, never a guess; callers count and report it.

use serde::{Deserialize, Serialize};

/// A language that the tables can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// C++ of any standard.
    Cpp,
    /// Python 3, CPython or PyPy.
    Python3,
    /// Python 2, CPython or PyPy.
    Python2,
    /// Java of any version.
    Java,
    /// C of any standard.
    C,
    /// C#.
    CSharp,
    /// Go.
    Go,
    /// JavaScript.
    JavaScript,
    /// Kotlin.
    Kotlin,
    /// Rust.
    Rust,
}

impl Language {
    /// All languages.
    pub const ALL: [Self; 10] = [
        Self::Cpp,
        Self::Python3,
        Self::Python2,
        Self::Java,
        Self::C,
        Self::CSharp,
        Self::Go,
        Self::JavaScript,
        Self::Kotlin,
        Self::Rust,
    ];

    /// Those of CodeContests, which the paper trains on.
    pub const CODE_CONTESTS: [Self; 4] = [Self::Cpp, Self::Python3, Self::Python2, Self::Java];

    /// The short name used in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpp => "cpp",
            Self::Python3 => "python3",
            Self::Python2 => "python2",
            Self::Java => "java",
            Self::C => "c",
            Self::CSharp => "csharp",
            Self::Go => "go",
            Self::JavaScript => "javascript",
            Self::Kotlin => "kotlin",
            Self::Rust => "rust",
        }
    }

    /// The name used in prose and prompts.
    pub fn title(self) -> &'static str {
        match self {
            Self::Cpp => "C++",
            Self::Python3 => "Python 3",
            Self::Python2 => "Python 2",
            Self::Java => "Java",
            Self::C => "C",
            Self::CSharp => "C#",
            Self::Go => "Go",
            Self::JavaScript => "JavaScript",
            Self::Kotlin => "Kotlin",
            Self::Rust => "Rust",
        }
    }

    /// The language of a short name as it stands in tables.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|language| language.name() == name)
    }

    /// The language of a CodeContests code (`contest_problem.proto`, `Solution.Language`).
    pub fn from_code(code: i64) -> Option<Self> {
        match code {
            1 => Some(Self::Python2),
            2 => Some(Self::Cpp),
            3 => Some(Self::Python3),
            4 => Some(Self::Java),
            _ => None,
        }
    }

    /// The language of a judge's compiler string: "GNU C++17 (64)", "PyPy 3-64", "Java 11",
    /// "Python (3.8.2)", "Node.js"; also the short names and CodeContests codes as text.
    pub fn from_compiler(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        if let Some(language) = Self::from_name(&text) {
            return Some(language);
        }
        if let Ok(code) = text.parse() {
            return Self::from_code(code);
        }
        let has = |part: &str| text.contains(part);
        let starts = |part: &str| text.starts_with(part);
        // The word, then its version after spaces and brackets: "Python 3", "Python (3.8.2)".
        let version = |word: &str| {
            let rest = text.strip_prefix(word)?;
            rest.trim_start_matches([' ', '(', '-', 'v']).chars().next()
        };
        // "C++" before "C", "JavaScript" before "Java": the longer name holds the shorter one.
        if has("c++") || has("clang++") || starts("cpp") {
            return Some(Self::Cpp);
        }
        if has("c#") || has("csharp") {
            return Some(Self::CSharp);
        }
        if starts("python") || starts("pypy") || starts("cpython") {
            let word = ["cpython", "python", "pypy"]
                .into_iter()
                .find(|word| starts(word))?;
            return match version(word) {
                Some('3') => Some(Self::Python3),
                Some('2') => Some(Self::Python2),
                _ => None,
            };
        }
        if starts("javascript") || starts("node") {
            return Some(Self::JavaScript);
        }
        if starts("java") {
            return Some(Self::Java);
        }
        if starts("kotlin") {
            return Some(Self::Kotlin);
        }
        if starts("rust") {
            return Some(Self::Rust);
        }
        if text == "golang" || starts("go ") || starts("go(") {
            return Some(Self::Go);
        }
        if starts("gnu c") || starts("c (") || starts("gcc") {
            return Some(Self::C);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Language::{self, *};

    #[test]
    fn compiler_strings() {
        for (text, wanted) in [
            ("GNU C++17 (64)", Some(Cpp)),
            ("GNU C++0x", Some(Cpp)),
            ("MS C++ 2017", Some(Cpp)),
            ("Clang++17 Diagnostics", Some(Cpp)),
            ("C++20 (GCC 13-64)", Some(Cpp)),
            ("GNU C11", Some(C)),
            ("GNU C", Some(C)),
            ("PyPy 3", Some(Python3)),
            ("PyPy 3-64", Some(Python3)),
            ("PyPy3 (7.3.0)", Some(Python3)),
            ("Python 3 + libs", Some(Python3)),
            ("Python (3.8.2)", Some(Python3)),
            ("Python 2", Some(Python2)),
            ("PyPy 2", Some(Python2)),
            ("Java 11", Some(Java)),
            ("Java 8", Some(Java)),
            ("JavaScript", Some(JavaScript)),
            ("Node.js", Some(JavaScript)),
            ("C# 8", Some(CSharp)),
            ("Mono C#", Some(CSharp)),
            ("Go", Some(Go)),
            ("Kotlin 1.7", Some(Kotlin)),
            ("Rust 2021", Some(Rust)),
            ("python3", Some(Python3)),
            ("2", Some(Cpp)),
            ("Python", None),
            ("Delphi 7", None),
            ("Haskell", None),
            ("0", None),
            ("", None),
        ] {
            assert_eq!(Language::from_compiler(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn codes_and_names() {
        assert_eq!(
            (0..6).map(Language::from_code).collect::<Vec<_>>(),
            [
                None,
                Some(Python2),
                Some(Cpp),
                Some(Python3),
                Some(Java),
                None
            ]
        );
        for language in Language::ALL {
            assert_eq!(Language::from_name(language.name()), Some(language));
            let json = serde_json::to_string(&language).expect("an enum serialises");
            assert_eq!(json, format!("\"{}\"", language.name()));
        }
    }
}
