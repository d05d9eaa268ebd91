"""Work on whole folders: stages, the engine that runs them, and the commands made of stages."""
