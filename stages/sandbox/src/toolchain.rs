//! The compilers and interpreters of this machine, found and tried once per sandbox.
//!
//! Everything runs in a container: the way of linking is the first of small static with lld,
//! small static, static, lld and plain that yields a program; the precompiled header is kept only
//! if the compiler is seen to take it. The real Python interpreter is asked for, not a
//! version manager's wrapper, which costs more than most programs.

use std::{
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    process::Command,
};

use fs_err as fs;

use crate::{
    Error, Exit, Language, Limits, Options, Sandbox,
    language::Build,
    sandbox::{Program, Raw, RawDone},
};

/// Where the folder of precompiled headers is shown in a container.
pub(crate) const HEADERS: &str = "/headers";

/// Bounds of a compilation.
pub(crate) fn compile_limits() -> Limits {
    Limits {
        cpu_s: 20.0,
        memory_bytes: 1 << 30,
        processes: 32,
        output_bytes: 256 << 20,
        open_files: 256,
    }
}

/// A Python interpreter and the folders it needs beside the system's.
#[derive(Clone, Debug)]
pub(crate) struct Python {
    pub(crate) executable: PathBuf,
    pub(crate) folders: Vec<PathBuf>,
}

/// Finds the interpreter before any container stands, since its folders must be shown there.
pub(crate) fn find_python(options: &Options) -> Option<Python> {
    let candidates = match &options.python3 {
        Some(path) => vec![path.clone()],
        None => vec![PathBuf::from("/usr/bin/python3"), PathBuf::from("python3")],
    };
    candidates
        .iter()
        .find_map(|candidate| ask_python(candidate))
}

fn ask_python(candidate: &Path) -> Option<Python> {
    let question = "import sys; print(sys.executable, sys.prefix, sys.base_prefix, sep='\\n')";
    let output = Command::new(candidate)
        .args(["-s", "-c", question])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut lines = text
        .lines()
        .filter(|line| line.starts_with('/'))
        .map(PathBuf::from);
    let executable = lines.next().filter(|_| output.status.success())?;
    let mut folders: Vec<PathBuf> = lines.filter(|folder| !folder.starts_with("/usr")).collect();
    folders.dedup();
    Some(Python {
        executable,
        folders,
    })
}

/// Nothing that is not called, no symbols, and as few segments as there can be: what `exec` maps
/// and a short program touches of it is most of what a run costs. No instruction changes.
macro_rules! small {
    ($($more:literal),*) => {
        &[
            "-static",
            "-s",
            "-Wl,--gc-sections",
            "-Wl,-z,noseparate-code",
            "-Wl,-z,norelro",
            $($more),*
        ]
    };
}

/// A compiler of the GNU family that works here.
#[derive(Clone, Debug)]
pub(crate) struct Gnu {
    driver: String,
    flags: &'static [&'static str],
    libraries: &'static [&'static str],
    link: &'static [&'static str],
    header_folder: Option<String>,
}

impl Gnu {
    /// Tries to link a small program; `None` if there is no way, or no compiler that starts.
    pub(crate) fn find(sandbox: &Sandbox, language: Language) -> Result<Option<Gnu>, Error> {
        const WAYS: [&[&str]; 5] = [
            small!("-fuse-ld=lld"),
            small!(),
            &["-static"],
            &["-fuse-ld=lld"],
            &[],
        ];
        let Build::Gnu {
            driver,
            flags,
            libraries,
        } = language.row().build
        else {
            return Ok(None);
        };
        let Some(path) = crate::command::find_tool(driver) else {
            return Ok(None);
        };
        let driver = path.to_string_lossy().into_owned();
        let has_lld = ["/usr/local/bin/ld.lld", "/usr/bin/ld.lld"]
            .iter()
            .any(|path| Path::new(path).exists());
        for link in WAYS
            .into_iter()
            .filter(|link| has_lld || !link.contains(&"-fuse-ld=lld"))
        {
            let gnu = Gnu {
                driver: driver.clone(),
                flags,
                libraries,
                link,
                header_folder: None,
            };
            let source = b"int main() { return 0; }";
            let compiled = match gnu.compile(sandbox, language, source, &[], &[]) {
                Err(Error::Refused { .. }) => return Ok(None),
                other => other?,
            };
            let Some(executable) = compiled
                .collected
                .filter(|_| compiled.outcome.exit == Exit::Status(0))
            else {
                continue;
            };
            let program = Program::executable(language, executable)?;
            let tried = sandbox.run_program(&program, b"", &Limits::default());
            if tried.is_ok_and(|outcome| outcome.exit == Exit::Status(0)) {
                return Ok(Some(gnu));
            }
        }
        Ok(None)
    }

    /// Makes the precompiled header in `cache` unless it is there, and uses it if the
    /// compiler does; silently goes without otherwise.
    pub(crate) fn with_header(mut self, sandbox: &Sandbox, cache: &Path) -> Result<Gnu, Error> {
        let version = self.version(sandbox)?;
        let key = blake3::hash(format!("{version}\n{}\n{:?}", self.driver, self.flags).as_bytes());
        let name = key.to_hex()[..16].to_owned();
        let folder = cache.join(&name).join("bits");
        let header = folder.join("stdc++.h.gch");
        if !header.exists() {
            let made = sandbox.run_raw(Raw {
                address_slack_bytes: 0,
                interpreter_arguments: 0,
                arguments: self.arguments(&["-x", "c++-header"], "main.hpp"),
                files: &[("main.hpp", b"#include <bits/stdc++.h>\n")],
                collect: "main",
                limits: &compile_limits(),
            })?;
            let is_made = made.outcome.exit == Exit::Status(0);
            let Some(collected) = made.collected.filter(|_| is_made) else {
                return Ok(self);
            };
            // A full disk or a folder that cannot be written makes compiling slower, not wrong.
            if keep(collected, &folder, &header).is_err() {
                return Ok(self);
            }
        }
        let shown = if sandbox.is_bare() {
            cache.join(&name).to_string_lossy().into_owned()
        } else {
            format!("{HEADERS}/{name}")
        };
        self.header_folder = Some(shown.clone());
        let small = b"#include <bits/stdc++.h>\nint main() { std::cout << 1; }\n";
        let tried = self.compile(sandbox, Language::Cpp, small, &["-H"], &[])?;
        let is_used = String::from_utf8_lossy(&tried.outcome.stderr_head)
            .lines()
            .any(|line| line.starts_with(&format!("! {shown}")));
        if !is_used {
            self.header_folder = None;
        }
        Ok(self)
    }

    /// Whether a precompiled header was made and is taken by the compiler.
    pub(crate) fn has_header(&self) -> bool {
        self.header_folder.is_some()
    }

    fn version(&self, sandbox: &Sandbox) -> Result<String, Error> {
        let arguments = [
            self.driver.as_str(),
            "-dumpfullversion",
            "-dumpmachine",
            "-v",
        ];
        let answer = sandbox.run_raw(Raw {
            address_slack_bytes: 0,
            interpreter_arguments: 0,
            arguments: arguments
                .map(|argument| argument.as_bytes().to_vec())
                .to_vec(),
            files: &[],
            collect: "",
            limits: &compile_limits(),
        })?;
        Ok(String::from_utf8_lossy(&answer.outcome.stderr_head).into_owned())
    }

    fn arguments(&self, extra: &[&str], source_name: &str) -> Vec<Vec<u8>> {
        [self.driver.as_str()]
            .into_iter()
            .chain(self.flags.iter().copied())
            .chain(["-fdiagnostics-color=never", "-fmax-errors=20"])
            .chain(extra.iter().copied())
            .chain(["-o", "main", source_name])
            .map(|argument| argument.as_bytes().to_vec())
            .collect()
    }

    /// Flags that make a source use the precompiled header, if it may.
    fn header_flags<'a>(&'a self, source: &[u8], flags: &mut Vec<&'a str>) {
        if let Some(folder) = &self.header_folder
            && starts_with_the_header(source)
        {
            flags.extend(["-I", folder, "-Winvalid-pch"]);
        }
    }

    /// Compiles and links one source, with others beside it.
    pub(crate) fn compile(
        &self,
        sandbox: &Sandbox,
        language: Language,
        source: &[u8],
        extra: &[&str],
        others: &[(&str, &[u8])],
    ) -> Result<RawDone, Error> {
        const SOURCES: [&str; 4] = [".c", ".cc", ".cpp", ".cxx"];
        let name = language.row().source_name;
        let mut flags = extra.to_vec();
        self.header_flags(source, &mut flags);
        let mut arguments = self.arguments(&flags, name);
        let more = others.iter().map(|(name, _)| *name);
        let more = more.filter(|name| SOURCES.iter().any(|suffix| name.ends_with(suffix)));
        arguments.extend(more.map(|name| name.as_bytes().to_vec()));
        let files: Vec<(&str, &[u8])> = [(name, source)]
            .into_iter()
            .chain(others.iter().copied())
            .collect();
        self.link_with(sandbox, arguments, &files)
    }

    /// Compiles one source to assembly, the file that is collected.
    pub(crate) fn assembly(
        &self,
        sandbox: &Sandbox,
        language: Language,
        source: &[u8],
    ) -> Result<RawDone, Error> {
        let name = language.row().source_name;
        let mut flags = vec!["-S"];
        self.header_flags(source, &mut flags);
        sandbox.run_raw(Raw {
            address_slack_bytes: 0,
            interpreter_arguments: 0,
            arguments: self.arguments(&flags, name),
            files: &[(name, source)],
            collect: "main",
            limits: &compile_limits(),
        })
    }

    /// Assembles and links what `assembly` gave.
    pub(crate) fn link(&self, sandbox: &Sandbox, assembly: &[u8]) -> Result<RawDone, Error> {
        let arguments = self.arguments(&[], "main.s");
        self.link_with(sandbox, arguments, &[("main.s", assembly)])
    }

    fn link_with(
        &self,
        sandbox: &Sandbox,
        mut arguments: Vec<Vec<u8>>,
        files: &[(&str, &[u8])],
    ) -> Result<RawDone, Error> {
        let last = self.libraries.iter().chain(self.link.iter());
        arguments.extend(last.map(|argument| argument.as_bytes().to_vec()));
        sandbox.run_raw(Raw {
            address_slack_bytes: 0,
            interpreter_arguments: 0,
            arguments,
            files,
            collect: "main",
            limits: &compile_limits(),
        })
    }
}

/// Puts a precompiled header where the next sandbox finds it.
fn keep(collected: OwnedFd, folder: &Path, header: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut draft = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)?;
    std::io::copy(&mut std::fs::File::from(collected), &mut draft)?;
    draft.persist(header).map_err(|failed| failed.error)?;
    Ok(())
}

impl Python {
    /// Asks the interpreter whether a source is a program.
    pub(crate) fn check(&self, sandbox: &Sandbox, source: &[u8]) -> Result<RawDone, Error> {
        const CHECK: &str = "import sys\ntry:\n compile(open('main.py','rb').read(),'main.py','exec')\n\
            except BaseException as e:\n import traceback\n \
            sys.stderr.write(''.join(traceback.format_exception_only(type(e),e)))\n sys.exit(1)\n";
        let mut arguments = self.command();
        arguments.extend([b"-c".to_vec(), CHECK.as_bytes().to_vec()]);
        sandbox.run_raw(Raw {
            address_slack_bytes: 0,
            interpreter_arguments: self.command().len(),
            arguments,
            files: &[("main.py", source)],
            collect: "",
            limits: &Limits {
                cpu_s: 10.0,
                memory_bytes: 512 << 20,
                ..Limits::default()
            },
        })
    }

    /// The interpreter's command: site and its `exit()` stay, user folders do not.
    pub(crate) fn command(&self) -> Vec<Vec<u8>> {
        let executable = self.executable.as_os_str().as_bytes();
        [executable, b"-s", b"-B"].map(<[u8]>::to_vec).to_vec()
    }
}

/// Whether the first directive is `#include <bits/stdc++.h>`: only then may the precompiled
/// header stand for it.
pub(crate) fn starts_with_the_header(source: &[u8]) -> bool {
    let text = String::from_utf8_lossy(source);
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        if let Some(comment) = rest.strip_prefix("//") {
            // A backslash would carry the comment on; rare enough to go without.
            let Some((line, after)) = comment.split_once('\n') else {
                return false;
            };
            if line.trim_end().ends_with('\\') {
                return false;
            }
            rest = after.trim_start();
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let Some((_, after)) = comment.split_once("*/") else {
                return false;
            };
            rest = after.trim_start();
        } else {
            break;
        }
    }
    let line = rest.lines().next().unwrap_or_default();
    let words: String = line.chars().filter(|char| !char.is_whitespace()).collect();
    ["#include<bits/stdc++.h>", "#include\"bits/stdc++.h\""]
        .iter()
        .any(|form| words.starts_with(form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_counts_only_as_first_directive() {
        for yes in [
            "#include <bits/stdc++.h>\n",
            "\u{feff}// a\n/* b\n */ # include<bits/stdc++.h> // c\nint x;",
            "#include \"bits/stdc++.h\"\r\nint x;",
        ] {
            assert!(starts_with_the_header(yes.as_bytes()), "{yes:?}");
        }
        for no in [
            "",
            "#define int long long\n#include <bits/stdc++.h>\n",
            "#pragma GCC optimize(\"O3\")\n#include <bits/stdc++.h>\n",
            "#include <iostream>\n#include <bits/stdc++.h>\n",
            "// a \\\n#include <bits/stdc++.h>\n",
            "// #include <bits/stdc++.h>",
            "int x;\n#include <bits/stdc++.h>\n",
        ] {
            assert!(!starts_with_the_header(no.as_bytes()), "{no:?}");
        }
    }
}
