require "redirect-dsn";
redirect :ret "HALF" "a@example.com";
