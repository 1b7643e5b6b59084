require "include";
include "deep10";
include "deep10";
