//! Writes configurations: the annotated one to start from, and an effective one with its origins.

use std::fmt::Write as _;

use crate::config::{Layers, Presence, sections};

/// A file that explains every key: required ones with an example, the others as comments.
#[must_use]
pub fn annotated() -> String {
    let mut out = String::from(
        "# Configuration of one Antiphon node. Order: defaults, this file, environment variables\n\
         # (ANTIPHON_SECTION_KEY), flags. `antiphon config check` reads it without starting a node.\n",
    );
    for section in sections() {
        out.push('\n');
        comment(&mut out, section.about);
        push_line(&mut out, &format!("[{}]", section.name));
        for key in section.keys {
            comment(&mut out, key.about);
            let (sign, value) = match key.presence {
                Presence::Required(value) => ("", value),
                Presence::Default(value) | Presence::Optional(value) => ("#", value),
            };
            push_line(&mut out, &format!("{sign}{} = {value}", key.name));
        }
    }
    out
}

/// Every value that `layers` hold, with where it came from if `origins`.
#[must_use]
pub fn with_origins(layers: &Layers, origins: bool) -> String {
    let mut out = String::new();
    for section in sections() {
        push_line(&mut out, &format!("[{}]", section.name));
        for key in section.keys {
            let Some((value, origin)) = layers.get(&section.path(key)) else { continue };
            let line = format!("{} = {value}", key.name);
            if origins {
                push_line(&mut out, &format!("{line:<48}  # {origin}"));
            } else {
                push_line(&mut out, &line);
            }
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn comment(out: &mut String, lines: &[&str]) {
    for line in lines {
        push_line(out, &format!("#{line}"));
    }
}

fn push_line(out: &mut String, line: &str) {
    writeln!(out, "{line}").expect("a string takes all that is written to it");
}
