//! Targets whose content programs run as code: variables such as `PROMPT_COMMAND`, files such as `~/.bashrc`.
//!
//! Such a secret is legal. Whoever may change it can run commands in every workspace of its owner, so the command line
//! warns. No list of this kind is complete: it holds what shells, login programs, language runtimes and version control
//! run by themselves.

/// What runs the value of the environment variable `name`, such as `bash before each prompt`.
#[must_use]
pub fn of_variable(name: &str) -> Option<&'static str> {
    let known = VARIABLES.iter().find(|(names, _)| names.split(' ').any(|known| known == name));
    known.map(|(_, who)| *who)
}

/// What runs the file at `path`, a target as users write them: `~/…` or `/…`.
///
/// The home directories `/root` and `/home/NAME` count as `~`.
#[must_use]
pub fn of_file(path: &str) -> Option<&'static str> {
    let parts = components(path);
    let (files, below) = match parts.as_slice() {
        ["~" | "root", below @ ..] | ["home", _, below @ ..] => (HOME_FILES, below),
        all => (SYSTEM_FILES, all),
    };
    files.iter().find(|(patterns, _)| patterns.split(' ').any(|pattern| matches(pattern, below))).map(|(_, who)| *who)
}

/// The components without `.`, `..` and doubled slashes, as the kernel resolves them where no component is a link.
fn components(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts
}

/// Whether `parts` are the file `pattern`, or lie below it where it ends with a slash.
fn matches(pattern: &str, parts: &[&str]) -> bool {
    let expected: Vec<&str> = pattern.trim_end_matches('/').split('/').collect();
    if pattern.ends_with('/') {
        parts.len() > expected.len() && parts.starts_with(&expected)
    } else {
        parts == expected
    }
}

const VARIABLES: &[(&str, &str)] = &[
    ("PROMPT_COMMAND", "bash before each prompt"),
    ("PS0 PS1 PS2 PS4 PROMPT RPROMPT RPS1 SPROMPT", "shells when they show a prompt"),
    ("ENV BASH_ENV ZDOTDIR FPATH INPUTRC SHELLOPTS BASHOPTS", "shells at their start"),
    ("PYTHONSTARTUP PYTHONPATH PYTHONHOME PYTHONBREAKPOINT PYTHONUSERBASE", "Python"),
    ("NODE_OPTIONS NODE_PATH NPM_CONFIG_SCRIPT_SHELL npm_config_script_shell", "Node.js"),
    ("PERL5OPT PERL5LIB PERLLIB PERL5DB", "Perl"),
    ("RUBYOPT RUBYLIB BUNDLE_GEMFILE", "Ruby"),
    ("JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS _JAVA_OPTIONS CLASSPATH MAVEN_OPTS GRADLE_OPTS", "Java"),
    ("LUA_INIT LUA_PATH LUA_CPATH", "Lua"),
    ("PHPRC PHP_INI_SCAN_DIR", "PHP"),
    ("MAKEFLAGS GNUMAKEFLAGS MAKEFILES MFLAGS", "make"),
    ("RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTFLAGS CARGO_BUILD_RUSTC_WRAPPER", "cargo"),
    ("GOFLAGS GOPROXY CC CXX LD", "compilers and their build tools"),
    ("LESSOPEN LESSCLOSE MANPAGER SYSTEMD_PAGER AWS_PAGER GH_PAGER", "programs that show text in a pager"),
    ("FCEDIT SUDO_EDITOR KUBE_EDITOR SVN_EDITOR HGEDITOR GH_EDITOR VIMINIT EXINIT", "programs that open an editor"),
    ("SSH_ASKPASS SUDO_ASKPASS RSYNC_RSH CVS_RSH BROWSER TAR_OPTIONS", "programs that start others"),
    ("GCONV_PATH LOCPATH OPENSSL_CONF GTK_MODULES QT_PLUGIN_PATH", "the libraries of most programs"),
];

const SHELL_START: &str = "shells at their start";
const PATH_COMMANDS: &str = "whoever types its name as a command";

const HOME_FILES: &[(&str, &str)] = &[
    (".bashrc .bash_profile .bash_login .bash_logout .bash_aliases .bash_completion .profile", SHELL_START),
    (".zshrc .zshenv .zprofile .zlogin .zlogout .kshrc .mkshrc .cshrc .tcshrc .login .logout", SHELL_START),
    (".inputrc .config/fish/ .config/zsh/ .config/bash/ .oh-my-zsh/ .local/share/bash-completion/", SHELL_START),
    (".ssh/authorized_keys .ssh/authorized_keys2", "sshd, which lets the owners of its keys log in"),
    (".ssh/rc .ssh/environment .pam_environment .config/environment.d/", "the login"),
    (".ssh/config", "ssh, which may start the commands in it"),
    (".gitconfig .config/git/", "git, which may start the commands in it"),
    (".config/systemd/user/ .config/autostart/ .xprofile .xinitrc .xsession .xsessionrc", "the login"),
    (".vimrc .vim/ .config/nvim/ .emacs .emacs.d/ .exrc .nanorc", "the editor"),
    (".tmux.conf .config/tmux/ .screenrc .gdbinit .psqlrc .irbrc .pythonrc .Rprofile", "the program of that name"),
    (".cargo/config .cargo/config.toml .config/direnv/ .direnvrc .m2/settings.xml .gradle/", "build tools"),
    (".vscode-server/ .local/lib/", "programs that load their parts from there"),
    ("bin/ .local/bin/ .cargo/bin/ go/bin/", PATH_COMMANDS),
];

const SYSTEM_FILES: &[(&str, &str)] = &[
    ("etc/profile etc/profile.d/ etc/bash.bashrc etc/zsh/ etc/zshrc etc/zshenv etc/fish/ etc/csh.cshrc", SHELL_START),
    ("etc/environment etc/pam.d/ etc/security/ etc/ssh/ etc/passwd etc/shadow etc/sudoers etc/sudoers.d/", "the login"),
    ("etc/crontab etc/cron.d/ etc/cron.hourly/ etc/cron.daily/ var/spool/cron/", "cron"),
    ("etc/systemd/ run/systemd/ etc/udev/ etc/init.d/ etc/rc.local", "the start of the machine"),
    ("etc/ld.so.preload etc/ld.so.conf etc/ld.so.conf.d/ lib/ lib64/ usr/lib/ usr/local/lib/", "every program"),
    ("bin/ sbin/ usr/bin/ usr/sbin/ usr/local/bin/ usr/local/sbin/", PATH_COMMANDS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_are_run() {
        assert_eq!(of_variable("PROMPT_COMMAND"), Some("bash before each prompt"));
        for run in ["PS4", "NODE_OPTIONS", "LESSOPEN", "PERL5LIB", "ZDOTDIR"] {
            assert!(of_variable(run).is_some(), "{run}");
        }
        for plain in ["API_KEY", "PS", "", "PS1 PS2", "prompt_command", "DATABASE_URL"] {
            assert_eq!(of_variable(plain), None, "{plain:?}");
        }
    }

    #[test]
    fn files_that_are_run_however_they_are_written() {
        for path in [
            "~/.bashrc",
            "~/./.bashrc",
            "~//.bashrc",
            "~/x/../.bashrc",
            "/home/alice/.bashrc",
            "/root/.bashrc",
            "/home/alice/../bob/.zshrc",
            "~/.ssh/authorized_keys",
            "~/.config/fish/conf.d/a.fish",
            "~/bin/tool",
            "/usr/local/bin/tool",
            "/etc/profile.d/x.sh",
            "/etc/../etc/ld.so.preload",
        ] {
            assert!(of_file(path).is_some(), "{path}");
        }
        for path in
            ["", "/", "~/", "~/.bashrc.d", "~/.ssh/id_ed25519", "~/.config/fish", "~/project/.bashrc", "/srv/.bashrc"]
        {
            assert_eq!(of_file(path), None, "{path}");
        }
    }
}
