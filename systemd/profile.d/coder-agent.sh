# shellcheck shell=sh
# Login shells that do not come over SSH (su -, the console) get the workspace's environment. A login shell that has it
# already (SSH, tmux) only gets back what the workspace put into PATH, because /etc/profile has just replaced PATH.
# Root, a user without an agent, and a session of sshd that continues without an agent stay as they are.
#
# For bash, dash, mksh and other shells that read /etc/profile; for zsh where /etc/zprofile reads that file.
if [ -x /usr/bin/coder ] && [ "$(id -u 2>/dev/null || echo 0)" != 0 ] &&
    { [ "${CODER-}" = true ] || [ -z "${SSH_CONNECTION-}" ]; }; then
    coder_shell=dash
    [ -z "${BASH_VERSION-}" ] || coder_shell=bash
    [ -z "${ZSH_VERSION-}" ] || coder_shell=zsh
    case ${KSH_VERSION-} in *MIRBSD*) coder_shell=mksh ;; esac
    # Each text is first tried in a shell of its own: a name that is readonly here would end some shells, and with them
    # the login. The second is for shells that keep names which nobody knows of.
    for coder_shell in "$coder_shell" sh; do
        # shellcheck disable=SC2046 # PATH, or no word at all
        coder_variables=$(timeout 2 /usr/bin/coder env --login --wait 1500ms --format "$coder_shell" \
            $([ "${CODER-}" != true ] || echo PATH) 2>/dev/null) || coder_variables=
        if (eval "$coder_variables") >/dev/null 2>&1; then
            eval "$coder_variables"
            break
        fi
        [ "$coder_shell" != sh ] ||
            echo 'coder: cannot set the variables of the workspace: one of them is readonly in this shell' >&2
    done
    unset coder_shell coder_variables
fi
