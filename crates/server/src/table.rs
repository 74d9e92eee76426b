//! Places of commands in the table, and the texts that refuse a command before it runs.

use antiphon_kv::Command;

/// How many commands there are.
pub(crate) fn len() -> usize {
    Command::all().len()
}

/// A command's place in the table.
pub(crate) fn index(command: &'static Command) -> usize {
    let offset = std::ptr::from_ref(command).addr() - Command::all().as_ptr().addr();
    offset / size_of::<Command>()
}

/// The text for a name that no command has, as Redis words it.
pub(crate) fn unknown(args: &[&[u8]]) -> Vec<u8> {
    const SHOWN_BYTES: usize = 128;
    let (name, rest) =
        args.split_first().map_or((&[] as &[u8], args), |(name, rest)| (*name, rest));
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(shown(name, SHOWN_BYTES));
    text.extend_from_slice(b"', with args beginning with: ");
    let mut room = SHOWN_BYTES;
    for arg in rest {
        if room == 0 {
            break;
        }
        let arg = shown(arg, room);
        text.push(b'\'');
        text.extend_from_slice(arg);
        text.extend_from_slice(b"' ");
        room = room.saturating_sub(arg.len() + 3);
    }
    text
}

/// The text for a subcommand that a command does not have.
pub(crate) fn unknown_subcommand(command: &Command, subcommand: &[u8]) -> Vec<u8> {
    const SHOWN_BYTES: usize = 128;
    let mut text = b"ERR unknown subcommand '".to_vec();
    text.extend_from_slice(shown(subcommand, SHOWN_BYTES));
    text.extend_from_slice(b"'. Try ");
    text.extend_from_slice(command.name.to_ascii_uppercase().as_bytes());
    text.extend_from_slice(b" HELP.");
    text
}

/// At most `max` bytes, and none from a zero byte on, as C prints a string.
fn shown(text: &[u8], max: usize) -> &[u8] {
    let end = memchr::memchr(0, text).unwrap_or(text.len()).min(max);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_place() {
        for (place, command) in Command::all().iter().enumerate() {
            assert_eq!(index(command), place);
            let found = Command::find(command.name.to_uppercase().as_bytes());
            assert_eq!(found, Some(command));
        }
    }

    #[test]
    fn unknown_names_are_shown_in_part() {
        let text = unknown(&[b"foo", b"a", b"b c"]);
        assert_eq!(text, b"ERR unknown command 'foo', with args beginning with: 'a' 'b c' ");
        let long = [b'x'; 500];
        assert!(unknown(&[&long, &long, &long]).len() < 400);
    }
}
