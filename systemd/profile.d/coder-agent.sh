# shellcheck shell=sh
# Login shells that do not come over SSH (su -, the console) get the workspace's environment. Those that have it already
# (SSH, tmux) only get back what the workspace put into PATH, which /etc/profile has just set anew. Root, a user without
# an agent and a session of sshd that went on without one are left as they are.
if [ -x /usr/bin/coder ] && [ "$(id -u)" != 0 ] && { [ "${CODER-}" = true ] || [ -z "${SSH_CONNECTION-}" ]; }; then
    # shellcheck disable=SC2046 # PATH, or no word at all
    eval "$(timeout 2 /usr/bin/coder env --format sh --wait 1500ms $([ "${CODER-}" != true ] || echo PATH) 2>/dev/null)"
fi
