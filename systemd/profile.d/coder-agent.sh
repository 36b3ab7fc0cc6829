# shellcheck shell=sh
# Login shells that do not come over SSH (su -, the console) get the workspace's environment. A login shell that has it
# already (SSH, tmux) only gets back what the workspace put into PATH, because /etc/profile has just replaced PATH.
# Root, a user without an agent, and a session of sshd that continues without an agent stay as they are.
#
# For bash, dash, mksh and other shells that read /etc/profile; for zsh where /etc/zprofile reads that file.
if [ -x /usr/bin/coder ] && [ "$(id -u 2>/dev/null || echo 0)" != 0 ] &&
    { [ "${CODER-}" = true ] || [ -z "${SSH_CONNECTION-}" ]; }; then
    # shellcheck disable=SC2046 # PATH, or no word at all
    coder_variables=$(timeout 2 /usr/bin/coder env --login --wait 1500ms --format "$(
        [ -z "${ZSH_VERSION-}" ] || { echo zsh && exit; }
        [ -z "${BASH_VERSION-}" ] && echo sh || echo bash
    )" $([ "${CODER-}" != true ] || echo PATH) 2>/dev/null) || coder_variables=
    # First in a shell of its own: one name that is readonly here would end some shells, and with them the login.
    if (eval "$coder_variables") >/dev/null 2>&1; then
        eval "$coder_variables"
    else
        echo 'coder: cannot set the variables of the workspace: one of them is readonly in this shell' >&2
    fi
    unset coder_variables
fi
