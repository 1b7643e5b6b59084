require "include";
include "deep7";
include "deep7";
