//! What keys there are. The table is made from the option structs, so it cannot differ from them.

use crate::config::options;

/// A group of keys, a table in the file.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its name in the file.
    pub name: &'static str,
    /// What it is about, line by line.
    pub about: &'static [&'static str],
    /// Its keys in reading order.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name inside its section.
    pub name: &'static str,
    /// Effect, unit, default and the sum behind it, line by line.
    pub about: &'static [&'static str],
    /// How a text from the environment or a flag is read.
    pub kind: Kind,
    /// What happens when it is absent.
    pub presence: Presence,
}

/// What happens when a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// This value is used, written as in a file.
    Default(&'static str),
    /// It is an error; this is an example.
    Required(&'static str),
    /// There is no value; this is an example.
    Optional(&'static str),
}

/// How a text outside a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As it is: names, paths, addresses, and sizes and times with their unit.
    Text,
    /// A whole number.
    Whole,
    /// `true` or `false`.
    Switch,
    /// A list, written as in a file.
    List,
}

/// All sections in reading order.
#[must_use]
pub const fn sections() -> &'static [Section] {
    &options::SECTIONS
}

/// The key at `path`, such as `resp.listen`, with its section.
#[must_use]
pub fn key_at(path: &str) -> Option<(&'static Section, &'static Key)> {
    let (section, name) = path.split_once('.')?;
    let section = sections().iter().find(|candidate| candidate.name == section)?;
    section.keys.iter().find(|key| key.name == name).map(|key| (section, key))
}

impl Section {
    /// The path of `key` in this section.
    #[must_use]
    pub fn path(&self, key: &Key) -> String {
        format!("{}.{}", self.name, key.name)
    }

    /// The environment name of `key` in this section: `ANTIPHON_RESP_LISTEN`.
    #[must_use]
    pub fn environment(&self, key: &Key) -> String {
        format!("ANTIPHON_{}_{}", self.name, key.name).to_uppercase()
    }
}

/// Makes an option struct and its part of the table from one text.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $name:ident = $section:literal {
            $($(#[doc = $doc:literal])* $field:ident: $type:ty = $presence:expr;)*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $doc])* pub $field: $type,)*
        }

        impl $name {
            const SECTION: $crate::config::Section = $crate::config::Section {
                name: $section,
                about: &[$($about),*],
                keys: &[$($crate::config::Key {
                    name: stringify!($field),
                    about: &[$($doc),*],
                    kind: <$type as $crate::config::Setting>::KIND,
                    presence: $presence,
                }),*],
            };

            fn read(
                layers: &$crate::config::Layers,
                complaints: &mut Vec<$crate::config::Complaint>,
            ) -> Option<Self> {
                $(let $field = layers.read(concat!($section, ".", stringify!($field)), complaints);)*
                Some(Self { $($field: $field?),* })
            }
        }
    };
}
pub(crate) use section;
