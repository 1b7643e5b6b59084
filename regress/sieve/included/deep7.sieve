require "include";
include "deep8";
include "deep8";
