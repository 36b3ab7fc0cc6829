//! How shells print a value so that it can be read back: `set -x`, `export -p`, `declare -p`, `printf %q`, `${x@Q}`.
//!
//! Each function gives what stands between the outer quotes, where there are any.

use zeroize::Zeroizing;

type Quoted = Zeroizing<Vec<u8>>;

/// Every way of quoting. Ways that leave `value` as it is are given, too.
pub(super) fn all(value: &[u8]) -> [Quoted; 6] {
    [
        // bash, zsh, ksh: it's → 'it'\''s'
        each(value, |byte, to| match byte {
            b'\'' => to.extend(b"'\\''"),
            _ => to.push(byte),
        }),
        dash(value),
        // fish: it's → 'it\'s'
        backslashed(value, |byte| b"'\\".contains(&byte)),
        // bash's declare -p and export -p: a$b → "a\$b"
        backslashed(value, |byte| b"$`\"\\".contains(&byte)),
        ansi_c(value),
        words(value),
    ]
}

/// bash's `printf %q`: what separates words or means something to the shell has a backslash.
fn words(value: &[u8]) -> Quoted {
    let mut quoted = room(value);
    let mut before = b'=';
    for (index, byte) in value.iter().enumerate() {
        let is_special = match byte {
            b'#' => index == 0,
            b'~' => matches!(before, b'=' | b':'),
            _ => b" \t'\"\\|&;()<>!{}*[]?^$`,".contains(byte),
        };
        if is_special {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
        before = *byte;
    }
    quoted
}

/// dash and `BusyBox`: a run of single quotes stands in double quotes, it's → 'it'"'"'s'.
fn dash(value: &[u8]) -> Quoted {
    let mut quoted = room(value);
    for run in value.chunk_by(|a, b| (*a == b'\'') == (*b == b'\'')) {
        let quote = if run.first() == Some(&b'\'') { b'"' } else { b'\'' };
        quoted.push(quote);
        quoted.extend(run);
        quoted.push(quote);
    }
    // The outer quotes, of which one may be a double one.
    quoted.pop();
    Zeroizing::new(quoted.get(1..).unwrap_or_default().to_vec())
}

/// bash and ksh, of values with control characters: $'one\ntwo'.
fn ansi_c(value: &[u8]) -> Quoted {
    let is_text = std::str::from_utf8(value).is_ok();
    each(value, |byte, to| match byte {
        b'\'' | b'\\' => to.extend([b'\\', byte]),
        0x07 => to.extend(b"\\a"),
        0x08 => to.extend(b"\\b"),
        b'\t' => to.extend(b"\\t"),
        b'\n' => to.extend(b"\\n"),
        0x0b => to.extend(b"\\v"),
        0x0c => to.extend(b"\\f"),
        b'\r' => to.extend(b"\\r"),
        0x1b => to.extend(b"\\E"),
        0..0x20 | 0x7f => octal(byte, to),
        0x80.. if !is_text => octal(byte, to),
        _ => to.push(byte),
    })
}

fn octal(byte: u8, to: &mut Vec<u8>) {
    to.extend([b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]);
}

fn backslashed(value: &[u8], is_special: impl Fn(u8) -> bool) -> Quoted {
    each(value, |byte, to| {
        if is_special(byte) {
            to.push(b'\\');
        }
        to.push(byte);
    })
}

fn each(value: &[u8], mut write: impl FnMut(u8, &mut Vec<u8>)) -> Quoted {
    let mut quoted = room(value);
    for byte in value {
        write(*byte, &mut quoted);
    }
    quoted
}

/// No byte becomes more than five, so that the buffer never grows and leaves no copy behind.
fn room(value: &[u8]) -> Quoted {
    Zeroizing::new(Vec::with_capacity(value.len() * 5 + 2))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const VALUES: [&str; 7] = [
        "it's a secret",
        "two''quotes'",
        "pa$word`x`\"y\"\\z",
        "line one\nline 'two'\tend",
        "plain-and-simple",
        "(a|b)&;<c>*?[d]{e,f}!^",
        "\u{e9}t\u{e9} \u{1b}[0m\u{7f}'",
    ];

    /// What a shell prints of a value is one of the forms, between quotes or without them.
    fn prints(shell: &str, script: &str) {
        for value in VALUES {
            let output = Command::new(shell).args(["-c", script]).env("V", value).env("LC_ALL", "C.UTF-8").output();
            // A machine without this shell prints nothing that would have to be masked.
            let Ok(output) = output else { return };
            let text = [output.stdout, output.stderr].concat();
            let is_in = |form: &Quoted| text.windows(form.len()).any(|window| window == form.as_slice());
            assert!(all(value.as_bytes()).iter().any(is_in), "{shell} {script}: {}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn what_shells_print_is_among_the_forms() {
        for (shell, script) in [
            ("bash", "set -x; : \"$V\""),
            ("bash", "declare -p V"),
            ("bash", "export -p"),
            ("bash", "printf '%q\\n' \"$V\""),
            ("bash", "printf '%s\\n' \"${V@Q}\""),
            ("dash", "export -p"),
            ("sh", "export -p"),
            ("sh", "set"),
        ] {
            prints(shell, script);
        }
    }
}
