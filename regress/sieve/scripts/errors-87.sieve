require "editheader";
deleteheader :last "a";
