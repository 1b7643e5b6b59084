require "redirect-dsn";
redirect :notify "SOMETIMES" "a@example.com";
