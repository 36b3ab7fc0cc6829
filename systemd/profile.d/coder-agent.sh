# shellcheck shell=sh
# Login shells that do not come over SSH (su -, the console, tmux) get the workspace's environment. A shell that has it
# already, a session of sshd, root, and a user without an agent are left as they are.
if [ "${CODER-}" != true ] && [ -z "${SSH_CONNECTION-}" ] && [ -x /usr/bin/coder ] && [ "$(id -u)" != 0 ]; then
    eval "$(timeout 2 /usr/bin/coder env --format sh --wait 1500ms 2>/dev/null)"
fi
