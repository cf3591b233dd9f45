//! The languages of the judge: what is compiled and run how.
//!
//! A table with one row per language that the sandbox knows how to make fast; all others are
//! commands (`command`). Codes are those of the CodeContests data set. Python 2 and Java are
//! known so that rows of the data set can be named; Java runs as a command, Python 2 never.

/// A programming language of the judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Language {
    /// Python 2; not runnable.
    Python2,
    /// C++17 with GNU extensions.
    Cpp,
    /// CPython 3.
    Python3,
    /// Java; not runnable by this name, see [`crate::CommandLanguage::preset`].
    Java,
    /// C17 with GNU extensions; not in the data set.
    C,
    /// One of `Options::languages`, by its place there.
    Command(u16),
}

/// How sources of a language become programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// A compiler of the GNU family makes an executable.
    Gnu {
        /// Name of the driver on `PATH`.
        driver: &'static str,
        /// Flags beside the search paths and the way of linking.
        flags: &'static [&'static str],
        /// Libraries, after the source.
        libraries: &'static [&'static str],
    },
    /// An interpreter runs the source; its syntax is checked first.
    Python,
    /// Known by name only.
    None,
}

pub(crate) struct Row {
    pub(crate) source_name: &'static str,
    pub(crate) build: Build,
    /// Address space beyond the memory limit: interpreters and their threads reserve more than they use.
    pub(crate) address_slack_bytes: u64,
}

/// `ONLINE_JUDGE` is what contest sites define, and what programs that read files at home ask for.
const CPP_FLAGS: &[&str] = &["-std=gnu++17", "-O2", "-pthread", "-DONLINE_JUDGE"];
const C_FLAGS: &[&str] = &["-std=gnu17", "-O2", "-pthread", "-DONLINE_JUDGE"];

impl Language {
    /// The language of a CodeContests code; `None` for 0 (unknown) and for codes it does not define.
    pub fn from_code(code: i64) -> Option<Language> {
        match code {
            1 => Some(Language::Python2),
            2 => Some(Language::Cpp),
            3 => Some(Language::Python3),
            4 => Some(Language::Java),
            _ => None,
        }
    }

    /// Whether this crate can run the language, given its toolchain.
    pub fn is_runnable(self) -> bool {
        matches!(self, Language::Command(_)) || self.row().build != Build::None
    }

    pub(crate) fn row(self) -> Row {
        match self {
            Language::Cpp => Row {
                source_name: "main.cpp",
                build: Build::Gnu {
                    driver: "g++",
                    flags: CPP_FLAGS,
                    libraries: &[],
                },
                address_slack_bytes: 64 << 20,
            },
            Language::C => Row {
                source_name: "main.c",
                build: Build::Gnu {
                    driver: "gcc",
                    flags: C_FLAGS,
                    libraries: &["-lm"],
                },
                address_slack_bytes: 64 << 20,
            },
            Language::Python3 => Row {
                source_name: "main.py",
                build: Build::Python,
                address_slack_bytes: 256 << 20,
            },
            // Of a command language all is said in `Options::languages`.
            Language::Python2 | Language::Java | Language::Command(_) => Row {
                source_name: "main",
                build: Build::None,
                address_slack_bytes: 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_data_set() {
        assert_eq!(Language::from_code(0), None);
        assert_eq!(Language::from_code(1), Some(Language::Python2));
        assert_eq!(Language::from_code(2), Some(Language::Cpp));
        assert_eq!(Language::from_code(3), Some(Language::Python3));
        assert_eq!(Language::from_code(4), Some(Language::Java));
        assert_eq!(Language::from_code(5), None);
        assert!(Language::Cpp.is_runnable() && Language::Python3.is_runnable());
        assert!(!Language::Python2.is_runnable() && !Language::Java.is_runnable());
    }
}
