"""Worker processes under one supervisor: started, watched, replaced, reloaded, told to stop."""
