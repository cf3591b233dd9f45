//! Languages that are a pair of commands: what the recipe's table of languages may hold.
//!
//! Beside C, C++17 and Python 3, which the sandbox knows, a language is a file name for the
//! source, a command that makes the file `main` of it (none: the source is run as it is) and a
//! command that runs it (none: `main` is an executable). Both run in the same containers.
//! Presets are looked up on this machine when they are asked for.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The file that a compiling command has to make.
pub(crate) const ARTIFACT: &str = "main";

/// A language as commands. In their words `{source}` is the source's file name, `{program}` the
/// file to run, `{memory_mib}` the memory limit, `{class}` the Java class that holds `main`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLanguage {
    /// Its name in tables and recipes.
    pub name: String,
    /// File name of the source.
    pub source: String,
    /// Makes `main` of the source; empty if the source is run as it is.
    pub compile: Vec<String>,
    /// Runs the program; empty if `main` is an executable.
    pub run: Vec<String>,
    /// Address space beyond the memory limit: interpreters reserve more than they use.
    pub address_slack_bytes: u64,
    /// Host folders that its tools need beside the system's.
    pub shown: Vec<PathBuf>,
}

const JAVAC: &str = "javac -J-Xmx600m -J-Xss64m -J-XX:+UseSerialGC -J-XX:TieredStopAtLevel=1 \
    -J-XX:CompressedClassSpaceSize=128m -encoding UTF-8 -nowarn -d classes {source} && \
    jar -J-Xmx200m -J-XX:+UseSerialGC -J-XX:TieredStopAtLevel=1 --create --file main \
    --main-class {class} -C classes .";

impl CommandLanguage {
    /// Names of the presets.
    pub const PRESETS: [&str; 4] = ["cpp20", "java", "pypy3", "rust"];

    /// The commands of a preset on this machine; `None` for another name.
    ///
    /// Whether its tools are there shows when it is used.
    pub fn preset(name: &str) -> Option<CommandLanguage> {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Some(match name {
            "cpp20" => CommandLanguage {
                name: name.to_owned(),
                source: "main.cpp".to_owned(),
                compile: words(
                    "g++ -std=gnu++20 -O2 -pthread -DONLINE_JUDGE -fdiagnostics-color=never \
                     -fmax-errors=20 -o main {source} -static",
                ),
                address_slack_bytes: 64 << 20,
                ..CommandLanguage::default()
            },
            "java" => CommandLanguage {
                name: name.to_owned(),
                source: "{class}.java".to_owned(),
                compile: ["/bin/sh", "-c", JAVAC].map(str::to_owned).to_vec(),
                run: words(
                    "java -Xmx{memory_mib}m -Xss64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
                     -XX:CompressedClassSpaceSize=128m -Xshare:auto -jar {program}",
                ),
                address_slack_bytes: 4 << 30,
                shown: java_settings(),
            },
            "pypy3" => CommandLanguage {
                name: name.to_owned(),
                source: "main.py".to_owned(),
                run: words("pypy3 -s -B {program}"),
                address_slack_bytes: 512 << 20,
                ..CommandLanguage::default()
            },
            "rust" => {
                let root = rust_root();
                let rustc = root
                    .as_ref()
                    .map_or("rustc".into(), |root| root.join("bin/rustc"));
                let flags = "--edition=2021 -Copt-level=2 -Ccodegen-units=1 \
                    -Ctarget-feature=+crt-static --color=never -o main {source}";
                let mut compile = vec![rustc.display().to_string()];
                compile.extend::<Vec<String>>(words(flags));
                CommandLanguage {
                    name: name.to_owned(),
                    source: "main.rs".to_owned(),
                    compile,
                    address_slack_bytes: 64 << 20,
                    shown: root
                        .into_iter()
                        .filter(|root| !root.starts_with("/usr"))
                        .collect(),
                    ..CommandLanguage::default()
                }
            }
            _ => return None,
        })
    }

    /// The source's file name for this source.
    pub(crate) fn source_name(&self, source: &[u8]) -> String {
        self.fill(&self.source, source, 0)
    }

    /// The command that compiles this source, its tool as a path; or which tool is missing.
    pub(crate) fn compile_command(&self, source: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let words: Vec<String> = self
            .compile
            .iter()
            .map(|word| self.fill(word, source, 0))
            .collect();
        as_command(&words)
    }

    /// The command that runs a program kept as the file `program`.
    pub(crate) fn run_command(
        &self,
        program: &str,
        memory_bytes: u64,
    ) -> Result<Vec<Vec<u8>>, String> {
        let words: Vec<String> = self
            .run
            .iter()
            .map(|word| {
                word.replace("{program}", program)
                    .replace("{source}", program)
                    .replace("{memory_mib}", &(memory_bytes >> 20).max(1).to_string())
            })
            .collect();
        as_command(&words)
    }

    fn fill(&self, word: &str, source: &[u8], memory_bytes: u64) -> String {
        let class = if self.source.contains("{class}") {
            java_class(&String::from_utf8_lossy(source))
        } else {
            String::new()
        };
        word.replace("{source}", &self.source)
            .replace("{class}", &class)
            .replace("{memory_mib}", &(memory_bytes >> 20).to_string())
    }
}

fn as_command(words: &[String]) -> Result<Vec<Vec<u8>>, String> {
    let (tool, rest) = words
        .split_first()
        .ok_or_else(|| "it has no command".to_owned())?;
    let path = find_tool(tool)
        .ok_or_else(|| format!("`{tool}` is not there; install it or name its path"))?;
    let first = path.into_os_string().into_encoded_bytes();
    let rest = rest.iter().map(|word| word.clone().into_bytes());
    Ok([first].into_iter().chain(rest).collect())
}

/// Where a container finds a tool.
pub(crate) fn find_tool(name: &str) -> Option<PathBuf> {
    if name.starts_with('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    ["/usr/local/bin", "/usr/bin", "/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
}

/// Debian keeps a JDK's settings below `/etc`, and Java does not start without.
fn java_settings() -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir("/etc") else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("java")) && path.is_dir()
        })
        .collect();
    folders.sort();
    folders
}

fn rust_root() -> Option<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let root = PathBuf::from(text.trim());
    (output.status.success() && root.join("bin/rustc").exists()).then_some(root)
}

/// The class whose `main` is meant: the public one, else the last before `static void main`.
fn java_class(source: &str) -> String {
    let words: Vec<&str> = source
        .split(|char: char| !(char.is_alphanumeric() || char == '_' || char == '$'))
        .filter(|word| !word.is_empty())
        .collect();
    let is_kind = |word: &str| matches!(word, "class" | "enum" | "interface" | "record");
    let mut before_main = None;
    for (at, word) in words.iter().enumerate() {
        if is_kind(word) {
            let Some(name) = words.get(at + 1) else {
                break;
            };
            let start = at.saturating_sub(3);
            if words[start..at].contains(&"public") {
                return (*name).to_owned();
            }
            before_main = Some(*name);
        }
        let is_main = *word == "main" && at >= 2 && words[at - 2..at] == ["static", "void"];
        if is_main && let Some(name) = before_main {
            // A public class may still follow, but then it is not the one with `main`.
            return name.to_owned();
        }
    }
    before_main.unwrap_or("Main").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_with_main_names_the_file() {
        for (source, class) in [
            (
                "public class Sol { public static void main(String[] a) {} }",
                "Sol",
            ),
            ("import java.util.*;\npublic final class A_b{}", "A_b"),
            (
                "class Pair { int a; }\nclass Run { static void main(String[] a) {} }",
                "Run",
            ),
            ("class Only { }", "Only"),
            ("", "Main"),
        ] {
            assert_eq!(java_class(source), class, "{source}");
        }
    }

    #[test]
    fn words_are_filled_in() {
        let java = CommandLanguage::preset("java").expect("it is a preset");
        let source = b"public class X {}";
        assert_eq!(java.source_name(source), "X.java");
        assert!(
            java.fill(&java.compile[2], source, 0)
                .contains("--main-class X")
        );
        let own = CommandLanguage {
            run: vec!["/bin/sh".into(), "{program}".into(), "{memory_mib}".into()],
            ..CommandLanguage::default()
        };
        assert_eq!(
            own.run_command("main", 5 << 20),
            Ok(vec![b"/bin/sh".to_vec(), b"main".to_vec(), b"5".to_vec()])
        );
        assert_eq!(CommandLanguage::preset("cobol"), None);
        let missing = CommandLanguage {
            run: vec!["no-such-tool".into()],
            ..CommandLanguage::default()
        };
        assert!(missing.run_command("main", 0).is_err());
    }
}
