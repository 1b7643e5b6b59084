require "redirect-deliverby";
redirect :bymode "N" "a@example.com";
