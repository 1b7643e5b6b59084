require "regex";
if header :regex "a" "((((a{255}){255}){255}){255})" { keep; }
