require "include";
include "deep13";
include "deep13";
