require "vnd.dovecot.execute";
execute :output "x" "cat";
