//! Errors as people read them: what failed, where, the way out; and the exit code.

use crate::exit::Exit;
use engine::{Error, RecipeError};

/// Prints an error to stderr; says how the process should end.
pub(crate) fn print(error: &anyhow::Error) -> Exit {
    match error.downcast_ref::<Error>() {
        Some(Error::Recipe(recipe)) => {
            anstream::eprint!("{}", recipe_error(recipe));
            Exit::Usage
        }
        Some(Error::Interrupted) => {
            anstream::eprintln!("iota: {}", Error::Interrupted);
            Exit::Interrupted
        }
        Some(Error::Unknown { .. }) => {
            anstream::eprintln!("error: {error:#}");
            Exit::Usage
        }
        _ => {
            anstream::eprintln!("error: {}", chain(error));
            Exit::Failure
        }
    }
}

/// An error with its causes, one a line.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        text.push_str("\n  caused by: ");
        text.push_str(&cause.to_string().replace('\n', "\n  "));
    }
    // By its words: writers of tables pass the system's error on as text.
    if ["(os error 28)", "(os error 122)"]
        .iter()
        .any(|full| text.contains(full))
    {
        text.push_str(
            "\n  help: the disk is full; nothing made so far is lost. Free space (`iota gc` shows \
             what can go), then run again",
        );
    }
    text
}

/// A recipe error with the line it is about, underlined.
pub(crate) fn recipe_error(error: &RecipeError) -> String {
    #[derive(Debug, thiserror::Error, miette::Diagnostic)]
    #[error("{message}")]
    struct Drawn {
        message: String,
        #[source_code]
        source_code: miette::NamedSource<String>,
        #[label("{label}")]
        span: miette::SourceSpan,
        label: String,
        #[help]
        help: Option<String>,
    }
    let drawn = Drawn {
        message: error.message.clone(),
        source_code: miette::NamedSource::new(error.file.clone(), error.text.clone()),
        span: error.span.clone().into(),
        label: error.label.clone(),
        help: error.help.clone(),
    };
    let mut text = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(theme())
        .with_context_lines(1)
        .with_links(false);
    if handler.render_report(&mut text, &drawn).is_err() {
        text = format!(
            "error: {}:{}: {}\n",
            error.file,
            error.line(),
            error.message
        );
    }
    text
}

fn theme() -> miette::GraphicalTheme {
    use std::io::IsTerminal;
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if std::io::stderr().is_terminal() && !plain {
        miette::GraphicalTheme::unicode()
    } else {
        miette::GraphicalTheme::unicode_nocolor()
    }
}
