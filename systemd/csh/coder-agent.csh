# Login shells that do not come over SSH (su -, the console) get the workspace's environment. A login shell that has it
# already (SSH, tmux) only gets back what the workspace put into PATH, which some systems replace before this file.
# Root, a user without an agent, and a session of sshd that continues without an agent stay as they are.
#
# For tcsh; another csh cannot hold words of this length.
if ( $?tcsh && -x /usr/bin/coder && ( $?CODER || ! $?SSH_CONNECTION ) ) then
    if ( "`id -u`" != 0 ) then
        # The output refers to these two: tcsh ends a word at a newline, and drops a backslash in front of one.
        set coder_backslash = '\'
        set coder_newline = '\
'
        if ( $?CODER ) then
            set coder_variables = "`/bin/sh -c 'timeout 2 /usr/bin/coder env --login --format tcsh --wait 1500ms PATH 2>/dev/null'`"
        else
            set coder_variables = "`/bin/sh -c 'timeout 2 /usr/bin/coder env --login --format tcsh --wait 1500ms 2>/dev/null'`"
        endif
        # First in a shell of its own: one variable that cannot be set would end this file, and those that follow it.
        ( eval "$coder_variables:q" ) >& /dev/null
        if ( $status == 0 ) eval "$coder_variables:q"
        unset coder_backslash coder_newline coder_variables
    endif
endif
