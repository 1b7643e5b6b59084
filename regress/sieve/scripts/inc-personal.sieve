require "include";
include :personal "both";
