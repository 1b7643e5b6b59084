keep $$$;
