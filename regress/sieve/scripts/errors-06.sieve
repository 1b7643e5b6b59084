require 3;
