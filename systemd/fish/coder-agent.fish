# Login shells that do not come over SSH (su -, the console) get the workspace's environment. Root, a user without an
# agent, and a session over SSH stay as they are.
if status is-login; and test -x /usr/bin/coder; and not set -q CODER; and not set -q SSH_CONNECTION; and test (id -u) != 0
    timeout 2 /usr/bin/coder env --login --format fish --wait 1500ms 2>/dev/null | source
end
