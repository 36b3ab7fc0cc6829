//! Man pages with the sections that readers look for: EXAMPLES, ENVIRONMENT, EXIT STATUS, FILES.
//!
//! clap knows the options and the variables that stand for them. The rest is in a [`Manual`].
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

/// A row of a section: a name, and what it means.
pub type Row = (&'static str, &'static str);

/// Rows for the pages of a command and of the commands below it, such as `coder secret`.
pub type Rows = &'static [(&'static str, &'static [Row])];

/// What clap does not know about a program.
pub struct Manual {
    /// The name that the texts use.
    pub name: &'static str,
    /// Variables that no option stands for.
    pub environment: Rows,
    /// Exit statuses. The longest matching command has the word.
    pub exit_status: Rows,
    /// Files.
    pub files: Rows,
}

/// What all pages of a program share.
struct Book<'b> {
    program: &'b str,
    version: &'b str,
    directory: &'b Path,
}

impl Manual {
    /// Writes the pages of `command` and all its subcommands into `directory`, which it creates, for a program that is called
    /// `program`.
    pub fn write(&self, command: Command, program: &'static str, directory: &Path) -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        // A page has what `-h` leaves out.
        let command = command.mut_args(|arg| arg.hide_short_help(false));
        let mut command = command.name(program).bin_name(program).disable_help_subcommand(true);
        command.build();
        let version = command.get_version().unwrap_or_default();
        self.write_below(&command, self.name, &Book { program, version, directory })
    }

    fn write_below(&self, command: &Command, path: &str, book: &Book<'_>) -> io::Result<()> {
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            self.write_below(below, &format!("{path} {}", below.get_name()), book)?;
        }
        let source = format!("{} {}", book.program, book.version);
        let man = Man::new(command.clone());
        let page = self.page(&man, command, (path, &source))?;
        let mut page = if book.program == self.name { page } else { renamed(&page, self.name, book.program) };
        if let Some(below) = path.strip_prefix(self.name).filter(|below| !below.is_empty()) {
            see_also(&mut page, &format!("{}{below}", book.program));
        }
        std::fs::write(book.directory.join(man.get_filename()), page)
    }

    fn page(&self, man: &Man, command: &Command, (path, source): (&str, &str)) -> io::Result<String> {
        let mut page = Vec::new();
        // The library's own title has no date, and no quotes around nothing, which moves its other words.
        let name = command.get_display_name().unwrap_or(command.get_name());
        page.extend(format!(".TH \"{}\" \"1\" \"\" \"{source}\" \"User Commands\"\n", escaped(name)).bytes());
        man.render_name_section(&mut page)?;
        page.extend(synopsis(command).bytes());
        man.render_description_section(&mut page)?;
        if command.get_arguments().any(|arg| !arg.is_hide_set()) {
            man.render_options_section(&mut page)?;
        }
        if command.has_subcommands() {
            man.render_subcommands_section(&mut page)?;
        }
        let mut page = String::from_utf8(page).map_err(io::Error::other)?;
        if let Some(text) = command.get_after_long_help().or(command.get_after_help()) {
            after_help(&mut page, &text.to_string());
        }
        section(&mut page, "ENVIRONMENT", &self.environment(command, path));
        section(&mut page, "EXIT STATUS", &owned(longest(self.exit_status, path)));
        section(&mut page, "FILES", &owned(matching(self.files, path)));
        Ok(page)
    }

    fn environment(&self, command: &Command, path: &str) -> Vec<(String, String)> {
        let visible = command.get_arguments().filter(|arg| !arg.is_hide_set());
        let mut rows: Vec<_> = visible
            .filter_map(|arg| {
                let variable = arg.get_env()?.to_str()?.to_owned();
                Some((variable, format!("Value of --{} if that option is not given.", arg.get_long()?)))
            })
            .collect();
        rows.extend(owned(matching(self.environment, path)));
        rows.sort();
        rows
    }
}

/// The usage as `--help` has it. `clap_mangen` lists every option instead, without its value.
fn synopsis(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").lines().map(str::trim).collect::<Vec<_>>().join("\n");
    format!(".SH SYNOPSIS\n.nf\n{}\n.fi\n", escaped(&usage))
}

/// The page of the command that this one belongs to.
fn see_also(page: &mut String, path: &str) {
    if let Some((parent, _)) = path.rsplit_once(' ') {
        let _ = write!(page, ".SH \"SEE ALSO\"\n\\fB{}\\fR(1)\n", escaped(&parent.replace(' ', "-")));
    }
}

fn is_below(path: &str, command: &str) -> bool {
    path.strip_prefix(command).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

fn matching(rows: Rows, path: &str) -> Vec<Row> {
    rows.iter().filter(|(command, _)| is_below(path, command)).flat_map(|(_, rows)| rows.iter().copied()).collect()
}

fn longest(rows: Rows, path: &str) -> Vec<Row> {
    let candidates = rows.iter().filter(|(command, _)| is_below(path, command));
    candidates.max_by_key(|(command, _)| command.len()).map(|(_, rows)| rows.to_vec()).unwrap_or_default()
}

fn owned(rows: Vec<Row>) -> Vec<(String, String)> {
    rows.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

/// The text below a command's help: blocks with a heading such as `Examples:` become sections, the rest is NOTES.
fn after_help(page: &mut String, text: &str) {
    let mut heading = "NOTES".to_owned();
    let mut body = String::new();
    for line in text.lines().chain(["End:"]) {
        if let Some(next) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
            if !body.trim().is_empty() {
                let _ = write!(page, ".SH {}\n.nf\n{}\n.fi\n", heading.to_uppercase(), escaped(body.trim_end()));
            }
            (heading, body) = (next.to_owned(), String::new());
        } else {
            body.push_str(line.strip_prefix("  ").unwrap_or(line));
            body.push('\n');
        }
    }
}

fn section(page: &mut String, heading: &str, rows: &[(String, String)]) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(page, ".SH {}", escaped(heading));
    for (name, text) in rows {
        let _ = write!(page, ".TP\n\\fB{}\\fR\n{}\n", escaped(name), escaped(text));
    }
}

/// Text as roff prints it: a backslash is a command, and so is a dot or an apostrophe at the start of a line.
fn escaped(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The page with commands of `name` under the program's other name. Names with a suffix, such as `coder-server`, stay.
fn renamed(page: &str, name: &str, program: &str) -> String {
    page.replace(&format!("{name} "), &format!("{} ", program.replace('-', "\\-")))
}
