require "vnd.dovecot.filter";
filter "../sh";
